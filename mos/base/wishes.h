#pragma once

#include <atomic>

namespace mos {

/// What somebody asks of long work while it goes on. Asked from signal handlers too; the work takes
/// a wish at its next step, once.
class Wishes {
 public:
  void ask_to_save() { save_.store(true, std::memory_order_relaxed); }
  void ask_to_show() { show_.store(true, std::memory_order_relaxed); }

  bool take_save() { return save_.exchange(false, std::memory_order_relaxed); }
  bool take_show() { return show_.exchange(false, std::memory_order_relaxed); }

 private:
  std::atomic<bool> save_{false}, show_{false};
};

}  // namespace mos
