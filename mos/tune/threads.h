#pragma once

#include <ATen/Parallel.h>

#include <cstdint>

namespace mos::tune {

/// Another number of threads for the operations of this one until the end of the scope; 0 changes
/// nothing.
class ScopedThreads {
 public:
  explicit ScopedThreads(std::int64_t threads) : before_(at::get_num_threads()) {
    if (threads > 0) at::set_num_threads(static_cast<int>(threads));
  }
  ~ScopedThreads() { at::set_num_threads(before_); }
  ScopedThreads(const ScopedThreads&) = delete;
  ScopedThreads& operator=(const ScopedThreads&) = delete;

 private:
  int before_;
};

}  // namespace mos::tune
