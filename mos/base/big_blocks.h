#pragma once

namespace mos {

/// While one lives, memory blocks of 32 MiB and more go back to the system when they are freed, and
/// what malloc had free before has gone there. Otherwise malloc keeps them (set_up_runtime): the
/// fastest for work that asks for the same sizes again and again, but features of a picture are of
/// other sizes at every level, and fit into no gap that the level before left. Of the whole
/// process; may be held several times, by any threads.
class BigBlocksGoBack {
 public:
  BigBlocksGoBack();
  ~BigBlocksGoBack();
  BigBlocksGoBack(const BigBlocksGoBack&) = delete;
  BigBlocksGoBack& operator=(const BigBlocksGoBack&) = delete;
};

}  // namespace mos
