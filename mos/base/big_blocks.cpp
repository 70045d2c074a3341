#include "mos/base/big_blocks.h"

#include <malloc.h>

#include <mutex>

namespace mos {
namespace {

constexpr int kBig = 32 << 20;  // the largest threshold that every glibc takes
constexpr int kMany = 1 << 16;  // glibc's own default

/// What malloc, which is one for the process, has been told.
struct Memory {
  std::mutex mutex;
  bool kept = false;
  int holders = 0;  ///< Of big blocks that go back.
};

Memory& memory() {
  static Memory memory;
  return memory;
}

}  // namespace

void keep_freed_memory() {
  auto& now = memory();
  const std::lock_guard lock(now.mutex);
  now.kept = true;
  mallopt(M_TRIM_THRESHOLD, -1);
  if (now.holders == 0) mallopt(M_MMAP_MAX, 0);
}

BigBlocksGoBack::BigBlocksGoBack() {
  auto& now = memory();
  const std::lock_guard lock(now.mutex);
  if (now.holders++ > 0 || !now.kept) return;
  malloc_trim(0);
  mallopt(M_MMAP_THRESHOLD, kBig);
  mallopt(M_MMAP_MAX, kMany);
}

BigBlocksGoBack::~BigBlocksGoBack() {
  auto& now = memory();
  const std::lock_guard lock(now.mutex);
  if (--now.holders == 0 && now.kept) mallopt(M_MMAP_MAX, 0);
}

}  // namespace mos
