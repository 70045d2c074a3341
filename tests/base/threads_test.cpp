#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <torch/types.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <thread>

#include "mos/base/error.h"
#include "mos/base/runtime.h"
#include "mos/base/workers.h"
#include "tests/base/places.h"
#include "tests/support/sanitizers.h"

namespace mos {
namespace {

using testing::HasSubstr;

/// Runs `action` where no memory for another thread is left and ends with the exit code of its
/// error, said on stderr; 0 if there is none.
template <typename Action>
[[noreturn]] void without_room(Action action) {
  const rlimit nothing_more = {1, 1};
  ::setrlimit(RLIMIT_AS, &nothing_more);
  try {
    action();
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    std::_Exit(exit_code(error.kind()));
  }
  std::_Exit(0);
}

TEST(Threads, OneThatCannotStartIsAnErrorOfTheDevice) {
  if (test::is_sanitized()) GTEST_SKIP() << "sanitizers need memory of their own";
  EXPECT_EXIT(without_room([] { set_threads(64); }), testing::ExitedWithCode(5),
              "cannot start 63 threads");
  EXPECT_EXIT(without_room([] { const Workers workers(64); }), testing::ExitedWithCode(5),
              "cannot start 64 threads");
}

TEST(Threads, ImpossibleNumbersAreRefused) {
  for (const std::int64_t threads : {-1L, 0L, 1'000'000L}) {
    EXPECT_THAT(test::error_of(ErrorKind::kUsage, [&] { set_threads(threads); }),
                HasSubstr(std::to_string(threads)));
  }
}

TEST(Threads, AnotherNumberIsForAScope) {
  const auto before = at::get_num_threads();
  {
    const ScopedThreads threads(before + 1);
    EXPECT_EQ(at::get_num_threads(), before + 1);
    const ScopedThreads same(0);
    EXPECT_EQ(at::get_num_threads(), before + 1);
  }
  EXPECT_EQ(at::get_num_threads(), before);
}

TEST(Threads, ANewThreadKeepsItsNumberWhateverComputesInIt) {
  const ScopedThreads here(2);
  int after_loop = 0, after_product = 0;
  std::thread other([&] {
    const ScopedThreads alone(1);
    at::parallel_for(0, 8, 1, [](std::int64_t, std::int64_t) {});
    after_loop = at::get_num_threads();
    const auto matrix = torch::ones({64, 64});
    torch::mm(matrix, matrix);
    after_product = at::get_num_threads();
  });
  other.join();
  EXPECT_EQ(after_loop, 1);
  EXPECT_EQ(after_product, 1);
  EXPECT_EQ(at::get_num_threads(), 2);
}

TEST(PeakMemory, OfAPartDoesNotLowerThatOfTheProcess) {
  constexpr std::size_t kBytes = std::size_t{256} << 20;
  // malloc would keep it.
  auto* block = ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  ASSERT_NE(block, MAP_FAILED);
  const auto with_block = peak_memory();
  ::munmap(block, kBytes);
  const PeakMemory part;
  EXPECT_LT(part.bytes(), with_block);
  EXPECT_EQ(peak_memory(), with_block);
}

}  // namespace
}  // namespace mos
