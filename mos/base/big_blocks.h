#pragma once

namespace mos {

/// Memory that is freed stays with the process from now on: the fastest for work that asks for the
/// same sizes again and again.
void keep_freed_memory();

/// While one lives, memory blocks of 32 MiB and more go back to the system all the same when they
/// are freed, and what malloc had free before has gone there: features of a picture are of other
/// sizes at every level, and fit into no gap that the level before left. Of the whole process; may
/// be held several times, by any threads. Without keep_freed_memory() it does nothing: the memory
/// is the matter of whoever owns the process.
class BigBlocksGoBack {
 public:
  BigBlocksGoBack();
  ~BigBlocksGoBack();
  BigBlocksGoBack(const BigBlocksGoBack&) = delete;
  BigBlocksGoBack& operator=(const BigBlocksGoBack&) = delete;
};

}  // namespace mos
