#include "mos/studio/process.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <array>

#include "tests/support/temp_dir.h"

namespace mos::studio {
namespace {

TEST(LastingProcess, KeepsNobodyWaitingForTheEndOfWhatItsServerSays) {
  const TempDir folder;
  std::array<int, 2> said = {};
  ASSERT_EQ(pipe2(said.data(), O_CLOEXEC), 0);
  const int own = dup(STDOUT_FILENO);
  dup2(said[1], STDOUT_FILENO);  // as a server whose words go through a pipe
  const auto minder = start_lasting({.arguments = {"/bin/sleep", "60"},
                                     .folder = folder.path(),
                                     .output = folder / "output",
                                     .talk = folder / "talk",
                                     .end = folder / "end"},
                                    [](const ProcessId&) {});
  dup2(own, STDOUT_FILENO);
  close(own);
  close(said[1]);
  pollfd end = {said[0], POLLIN, 0};
  constexpr int kPatience = 5000;  // milliseconds
  EXPECT_EQ(poll(&end, 1, kPatience), 1) << "the pipe is still open";
  EXPECT_TRUE(is_alive(minder));
  close(said[0]);
  end_at_once(minder);
}

}  // namespace
}  // namespace mos::studio
