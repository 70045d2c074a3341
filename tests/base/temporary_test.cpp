#include "mos/base/temporary.h"

#include <gmock/gmock.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <mutex>
#include <thread>
#include <vector>

#include "mos/base/place.h"
#include "tests/base/places.h"

namespace mos {
namespace {

namespace fs = std::filesystem;
using test::names_in;
using test::put;
using testing::HasSubstr;
using testing::IsEmpty;

/// The name of a temporary file beside `place`, which is gone again.
std::string name_beside(const fs::path& place) {
  return Temporary(place, Temporary::Kind::kFile).path().filename().string();
}

/// Leaves a temporary file and a folder beside `place` as a process does that is killed.
void leave_by_a_killed_process(const fs::path& place) {
  const auto child = ::fork();
  if (child == 0) {
    const Temporary file(place, Temporary::Kind::kFile);
    const Temporary folder(place, Temporary::Kind::kFolder);
    put(folder.path() / "part", "half");
    ::raise(SIGKILL);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  ASSERT_TRUE(WIFSIGNALED(status));
}

TEST(Temporary, IsHiddenBesideItsPlaceAndGoneWithItsObject) {
  const TempDir folder;
  {
    const Temporary file(folder / "fox.safetensors", Temporary::Kind::kFile);
    const Temporary other(folder / "fox.safetensors", Temporary::Kind::kFolder);
    put(other.path() / "part", "half");
    EXPECT_EQ(file.path().parent_path(), folder.path());
    EXPECT_TRUE(file.path().filename().string().starts_with(".fox.safetensors.mos-"));
    EXPECT_NE(file.path(), other.path());
  }
  EXPECT_THAT(names_in(folder.path()), IsEmpty());
}

TEST(Temporary, ManyThreadsBesideOnePlaceEachHaveTheirOwn) {
  const TempDir folder;
  std::mutex mutex;
  std::set<fs::path> paths;
  const auto make = [&] {
    for (int i = 0; i < 100; ++i) {
      Temporary file(folder / "fox", Temporary::Kind::kFile);
      file.release();
      const std::lock_guard lock(mutex);
      paths.insert(file.path());
    }
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) threads.emplace_back(make);
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(paths.size(), 400U);
}

TEST(Temporary, APlaceWithTheLongestNameHasOneToo) {
  const TempDir folder;
  const std::string name(255, 'x');
  EXPECT_EQ(name_beside(folder / name).size(), 255U);
  std::string letters;
  while (letters.size() < 254) letters += "\u00e9";
  const auto cut = name_beside(folder / letters);
  EXPECT_EQ(cut.find(".mos-") % 2, 1U) << "a letter of two bytes is cut: " << cut;
}

TEST(Temporary, SaysWhichPlaceCannotBeWritten) {
  const auto message = test::error_of(ErrorKind::kIo, [] {
    const Temporary file("/proc/fox.safetensors", Temporary::Kind::kFile);
  });
  EXPECT_THAT(message, HasSubstr("cannot create /proc/fox.safetensors: "));
}

TEST(ClearLeftovers, TakesWhatAKilledProcessHasLeft) {
  const TempDir folder;
  leave_by_a_killed_process(folder / "fox.safetensors");
  EXPECT_EQ(names_in(folder.path()).size(), 2U);
  clear_leftovers(folder.path());
  EXPECT_THAT(names_in(folder.path()), IsEmpty());
}

TEST(ClearLeftovers, LeavesWhatIsBeingWritten) {
  const TempDir folder;
  const Temporary file(folder / "fox", Temporary::Kind::kFile);
  const Temporary other(folder / "fox", Temporary::Kind::kFolder);
  clear_leftovers(folder.path());
  EXPECT_EQ(names_in(folder.path()).size(), 2U);
}

TEST(ClearLeftovers, LeavesFilesOfOtherPrograms) {
  const TempDir folder;
  const std::set<std::string> names = {
      ".fox.part",           ".fox.mos-12345678.part", "fox.mos-12345678-12345678.part",
      ".fox.1234.part",      "fox.safetensors",        ".fox.mos-1234567x-12345678.part",
      ".mos-12345678-1.part"};
  for (const auto& name : names) put(folder / name, "theirs");
  clear_leftovers(folder.path());
  EXPECT_EQ(names_in(folder.path()), names);
}

TEST(ClearLeftovers, LeavesResultsThatCouldHaveNoOtherName) {
  const TempDir folder;
  fs::path kept;
  const auto message = test::error_of(ErrorKind::kIo, [&] {
    Temporary result(folder / "fox", Temporary::Kind::kFile);
    kept = result.path();
    keep_beside(result, folder / "none" / "fox", "cannot write fox");
  });
  EXPECT_THAT(message, HasSubstr("cannot write fox; the complete result is in " + kept.string()));
  clear_leftovers(folder.path());
  EXPECT_EQ(names_in(folder.path()), std::set{kept.filename().string()});
}

TEST(KeepBeside, KeepsNoPartOfATemporaryFolder) {
  const TempDir folder;
  const auto message = test::error_of(ErrorKind::kIo, [&] {
    const Temporary whole(folder / "model", Temporary::Kind::kFolder);
    Temporary part(whole.path() / "index", Temporary::Kind::kFile);
    keep_beside(part, whole.path() / "index", "cannot write index");
  });
  EXPECT_EQ(message, "cannot write index");
  EXPECT_THAT(names_in(folder.path()), IsEmpty());
}

TEST(ClearLeftovers, TakesThoseOfAnotherMachineAfterADay) {
  const TempDir folder;
  const std::string fresh = ".fox.mos-ffffffff-00000001.part";
  const std::string old = ".fox.mos-ffffffff-00000002.part";
  put(folder / fresh, "of a machine that may be at work");
  put(folder / old, "of one that is gone");
  fs::last_write_time(folder / old, fs::file_time_type::clock::now() - std::chrono::hours(25));
  clear_leftovers(folder.path());
  EXPECT_EQ(names_in(folder.path()), std::set{fresh});
}

TEST(ClearLeftovers, OfAFolderThatIsNotThereDoesNothing) { clear_leftovers("/nowhere/at/all"); }

TEST(TemporaryFolder, NamesAVariableThatIsNoFolder) {
  const TempDir folder;
  const char* former = std::getenv("TMPDIR");
  const std::string kept = former == nullptr ? "" : former;
  ::setenv("TMPDIR", (folder / "none").c_str(), 1);
  const auto message = test::error_of(ErrorKind::kIo, [] { temporary_folder(); });
  ::setenv("TMPDIR", folder.path().c_str(), 1);
  EXPECT_EQ(temporary_folder(), folder.path());
  ::setenv("TMPDIR", "", 1);
  const auto without = temporary_folder();
  former == nullptr ? ::unsetenv("TMPDIR") : ::setenv("TMPDIR", kept.c_str(), 1);
  EXPECT_THAT(message, HasSubstr("TMPDIR=" + (folder / "none").string() + ": it is no folder"));
  EXPECT_NE(without, "") << "an empty one is none";
}

}  // namespace
}  // namespace mos
