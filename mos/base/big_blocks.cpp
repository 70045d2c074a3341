#include "mos/base/big_blocks.h"

#include <malloc.h>

#include <mutex>

namespace mos {
namespace {

constexpr int kBig = 32 << 20;  // the largest threshold that every glibc takes
constexpr int kMany = 1 << 16;  // glibc's own default

std::mutex holding;
int holders = 0;

}  // namespace

BigBlocksGoBack::BigBlocksGoBack() {
  const std::lock_guard lock(holding);
  if (holders++ > 0) return;
  malloc_trim(0);
  mallopt(M_MMAP_THRESHOLD, kBig);
  mallopt(M_MMAP_MAX, kMany);
}

BigBlocksGoBack::~BigBlocksGoBack() {
  const std::lock_guard lock(holding);
  if (--holders == 0) mallopt(M_MMAP_MAX, 0);
}

}  // namespace mos
