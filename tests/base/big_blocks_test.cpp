#include "mos/base/big_blocks.h"

#include <gtest/gtest.h>
#include <malloc.h>

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <optional>

#include "tests/support/sanitizers.h"

namespace mos {
namespace {

constexpr std::size_t kBytes = std::size_t{40} << 20;

/// Whether malloc takes a big block from the system alone; it then goes back as a whole.
bool big_block_is_apart() {
  const auto before = mallinfo2().hblks;
  void* volatile block = std::malloc(kBytes);  // volatile: else the compiler leaves both out
  const bool is_apart = mallinfo2().hblks > before;
  std::free(block);
  return is_apart;
}

TEST(BigBlocksGoBack, AsLongAsAnybodyHoldsOne) {
  if (test::is_sanitized()) GTEST_SKIP() << "a sanitizer's malloc has no such setting";
  keep_freed_memory();
  std::optional<BigBlocksGoBack> first(std::in_place), second(std::in_place);
  EXPECT_TRUE(big_block_is_apart());
  first.reset();
  EXPECT_TRUE(big_block_is_apart());
  second.reset();
  EXPECT_FALSE(big_block_is_apart());
}

TEST(BigBlocksGoBack, LeavesThoseAloneThatWereThereBefore) {
  std::unique_ptr<char[]> kept(new char[kBytes]);
  kept[0] = 7;
  {
    const BigBlocksGoBack go_back;
    EXPECT_EQ(kept[0], 7);
    kept = std::make_unique<char[]>(kBytes);
    kept[0] = 8;
  }
  EXPECT_EQ(kept[0], 8);
}

}  // namespace
}  // namespace mos
