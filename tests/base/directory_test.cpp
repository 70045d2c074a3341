#include "mos/base/directory.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <barrier>
#include <cerrno>
#include <string>
#include <thread>

#include "tests/base/places.h"

namespace {

/// Reasons that renaming fails for, by its flags; 0 where the system decides.
struct Failures {
  int exchange = 0;
  int new_name = 0;
  int after = 0;     ///< Calls for a new name that still succeed,
  int times = 1000;  ///< and how many fail then.
};
Failures failures;

}  // namespace

// Stands before the system's, for everything in this program.
extern "C" int renameat2(int old_folder, const char* old_name, int new_folder, const char* new_name,
                         unsigned int flags) noexcept {
  const bool exchanges = flags == RENAME_EXCHANGE;
  const int failure = exchanges ? failures.exchange : failures.new_name;
  if (failure != 0 && (exchanges || (failures.after-- <= 0 && failures.times-- > 0))) {
    errno = failure;
    return -1;
  }
  return static_cast<int>(
      ::syscall(SYS_renameat2, old_folder, old_name, new_folder, new_name, flags));
}

namespace mos {
namespace {

namespace fs = std::filesystem;
using test::error_of;
using test::names_in;
using test::put;
using testing::HasSubstr;

const FolderKind kBox = {.name = "a box", .marker = "lid", .entries = {"lid", "content"}};

void is_box(const fs::path& folder) { check_kind(folder, kBox); }

/// A box at `place` with this content.
void put_box(const fs::path& place, const std::string& content) {
  fs::create_directories(place);
  put(place / "lid", "");
  put(place / "content", content);
}

/// Writes a box over `place`.
void replace_box(const fs::path& place, const std::string& content) {
  AtomicDirectory box(place, Existing::kReplace, is_box);
  put_box(box.path(), content);
  box.commit();
}

class AtomicDirectoryTest : public testing::Test {
 protected:
  void TearDown() override { failures = {}; }

  std::string content(const std::string& box) { return read_text_file(folder_ / box / "content"); }

  TempDir folder_;
};

TEST_F(AtomicDirectoryTest, TheFormerFolderStandsUntilTheNewOneIsComplete) {
  put_box(folder_ / "box", "former");
  {
    const AtomicDirectory box(folder_ / "box", Existing::kReplace, is_box);
    put_box(box.path(), "half");
    EXPECT_EQ(content("box"), "former");
  }
  EXPECT_EQ(content("box"), "former");
  replace_box(folder_ / "box", "new");
  EXPECT_EQ(content("box"), "new");
  EXPECT_EQ(names_in(folder_.path()), std::set<std::string>{"box"});
}

TEST_F(AtomicDirectoryTest, WhereTheSystemCannotExchangeTheFormerIsMovedAside) {
  put_box(folder_ / "box", "former");
  failures.exchange = EINVAL;
  replace_box(folder_ / "box", "new");
  EXPECT_EQ(content("box"), "new");
  EXPECT_EQ(names_in(folder_.path()), std::set<std::string>{"box"});
}

TEST_F(AtomicDirectoryTest, WhenTheNewOneCannotBeRenamedBothAreKept) {
  put_box(folder_ / "box", "former");
  failures.exchange = EIO;
  const auto message = error_of(ErrorKind::kIo, [&] { replace_box(folder_ / "box", "new"); });
  EXPECT_THAT(message, HasSubstr("Input/output error; the complete result is in " +
                                 (folder_ / "box-2").string()));
  EXPECT_EQ(content("box"), "former");
  EXPECT_EQ(content("box-2"), "new");
}

TEST_F(AtomicDirectoryTest, WhenTheSecondOfTwoRenamesFailsTheFormerComesBack) {
  put_box(folder_ / "box", "former");
  failures = {.exchange = ENOSYS, .new_name = EIO, .after = 1, .times = 1};
  EXPECT_THAT(error_of(ErrorKind::kIo, [&] { replace_box(folder_ / "box", "new"); }),
              HasSubstr("the complete result is in " + (folder_ / "box-2").string()));
  EXPECT_EQ(content("box"), "former");
  EXPECT_EQ(content("box-2"), "new");
  EXPECT_EQ(names_in(folder_.path()), (std::set<std::string>{"box", "box-2"}));
}

TEST_F(AtomicDirectoryTest, WhenNothingCanBeRenamedAnyMoreBothAreKept) {
  put_box(folder_ / "box", "former");
  failures = {.exchange = ENOSYS, .new_name = EIO, .after = 1};
  AtomicDirectory box(folder_ / "box", Existing::kReplace, is_box);
  put_box(box.path(), "new");
  const auto message = error_of(ErrorKind::kIo, [&] { box.commit(); });
  // Nothing can be renamed any more, so each stays where it is, and the message says where.
  EXPECT_EQ(content("box-old-2"), "former");
  EXPECT_THAT(message, HasSubstr("the complete result is in " + box.path().string()));
  EXPECT_EQ(read_text_file(box.path() / "content"), "new");
}

TEST_F(AtomicDirectoryTest, WithoutFlagsForRenamingNothingIsReplacedEither) {
  failures.new_name = EINVAL;
  AtomicDirectory box(folder_ / "box");
  put_box(box.path(), "new");
  put_box(folder_ / "box", "somebody else's");
  EXPECT_THAT(error_of(ErrorKind::kIo, [&] { box.commit(); }), HasSubstr("box-2"));
  EXPECT_EQ(content("box"), "somebody else's");
  EXPECT_EQ(content("box-2"), "new");

  AtomicFile file(folder_ / "file", {.existing = Existing::kRefuse});
  file.write("new");
  put(folder_ / "file", "somebody else's");
  EXPECT_THAT(error_of(ErrorKind::kIo, [&] { file.commit(); }), HasSubstr("file-2"));
  EXPECT_EQ(read_text_file(folder_ / "file"), "somebody else's");
}

TEST_F(AtomicDirectoryTest, WhatAppearsMeanwhileStaysAndTheResultIsBesideIt) {
  AtomicDirectory refusing(folder_ / "box");
  put_box(refusing.path(), "new");
  put_box(folder_ / "box", "somebody else's");
  EXPECT_THAT(error_of(ErrorKind::kIo, [&] { refusing.commit(); }), HasSubstr("box-2"));

  AtomicDirectory replacing(folder_ / "box", Existing::kReplace, is_box);
  put_box(replacing.path(), "newer");
  put(folder_ / "box/notes", "written during the work");
  EXPECT_THAT(error_of(ErrorKind::kIo, [&] { replacing.commit(); }),
              testing::AllOf(HasSubstr("notes"), HasSubstr("box-3")));
  EXPECT_EQ(content("box"), "somebody else's");
  EXPECT_EQ(content("box-2"), "new");
  EXPECT_EQ(content("box-3"), "newer");
}

TEST_F(AtomicDirectoryTest, OnlyFoldersOfTheKindAreReplaced) {
  const auto error = [&](const std::string& name) {
    return error_of(ErrorKind::kUsage,
                    [&] { check_folder_target(folder_ / name, Existing::kReplace, is_box); });
  };
  fs::create_directory(folder_ / "empty");
  replace_box(folder_ / "empty", "new");
  fs::create_directory(folder_ / "other");
  put(folder_ / "other/content", "no box");
  EXPECT_THAT(error("other"), HasSubstr("it is not a box, as it lacks lid"));
  put_box(folder_ / "mixed", "former");
  put(folder_ / "mixed/notes", "mine");
  EXPECT_THAT(error("mixed"), HasSubstr("it holds notes, which is no part of a box"));
  put(folder_ / "file", "no folder");
  EXPECT_THAT(error("file"), HasSubstr("it is no folder"));
  put_box(folder_ / "seen", "former");
  put(folder_ / "seen/.DS_Store", "of the system");
  replace_box(folder_ / "seen", "new");
  EXPECT_EQ(content("seen"), "new");
  EXPECT_EQ(content("mixed"), "former");
  EXPECT_THAT(error_of(ErrorKind::kUsage,
                       [&] { check_folder_target(folder_ / "seen", Existing::kReplace, {}); }),
              HasSubstr("it is not empty"));
  EXPECT_THAT(error_of(ErrorKind::kIo, [&] { replace_box(folder_ / "other", "new"); }),
              testing::AllOf(HasSubstr("lacks lid"), HasSubstr("other-2")));
  EXPECT_EQ(content("other-2"), "new");
}

TEST_F(AtomicDirectoryTest, TheWorkingFolderAndWhatHoldsItAreNeverReplaced) {
  put_box(folder_ / "box", "former");
  const auto former = fs::current_path();
  fs::current_path(folder_ / "box");
  for (const std::string name : {".", "./", "../box", "../box/.", "..", "../.."}) {
    EXPECT_THAT(
        error_of(ErrorKind::kUsage, [&] { check_folder_target(name, Existing::kReplace, is_box); }),
        HasSubstr("it is the working folder, or holds it"))
        << name;
  }
  fs::current_path(former);
  EXPECT_EQ(content("box"), "former");
}

TEST_F(AtomicDirectoryTest, APlaceBehindALinkIsReplacedAndTheLinkStays) {
  put_box(folder_ / "box-v1", "former");
  fs::create_directory_symlink("box-v1", folder_ / "box");
  replace_box(folder_ / "box", "new");
  EXPECT_TRUE(fs::is_symlink(folder_ / "box"));
  EXPECT_EQ(content("box-v1"), "new");
  fs::create_directory_symlink("box-v2", folder_ / "leads to nothing");
  replace_box(folder_ / "leads to nothing", "second");
  EXPECT_EQ(content("box-v2"), "second");
}

TEST_F(AtomicDirectoryTest, MissingFoldersAboveItGoAgainWithoutAResult) {
  { const AtomicDirectory box(folder_ / "a/b/box"); }
  EXPECT_TRUE(names_in(folder_.path()).empty());
  replace_box(folder_ / "a/b/box", "new");
  EXPECT_EQ(content("a/b/box"), "new");
}

TEST_F(AtomicDirectoryTest, TwoThreadsThatReplaceOneFolderLeaveOneOfTheirs) {
  FolderKind chest = kBox;  // it takes longer to look through
  chest.entries.insert("drawers");
  chest.deeper = [](const fs::path&, fs::file_type) { return true; };
  const auto write = [&](const std::string& text) {
    for (int i = 0; i < 50; ++i) {
      AtomicDirectory made(folder_ / "box", Existing::kReplace,
                           [&](const fs::path& folder) { check_kind(folder, chest); });
      put_box(made.path(), text);
      for (int k = 0; k < 20; ++k)
        fs::create_directories(made.path() / "drawers" / std::to_string(k) / "x");
      made.commit();
    }
  };
  put_box(folder_ / "box", "former");
  std::thread first(write, "a"), second(write, "b");
  first.join();
  second.join();
  EXPECT_TRUE(content("box") == "a" || content("box") == "b");
  EXPECT_EQ(names_in(folder_.path()), std::set<std::string>{"box"});
}

TEST_F(AtomicDirectoryTest, TwoThreadsThatWriteOneNewFolderLeaveOneOfTheirs) {
  for (int i = 0; i < 50; ++i) {
    const auto box = folder_ / ("box" + std::to_string(i));
    std::barrier start(2);
    const auto write = [&](const std::string& text) {
      AtomicDirectory made(box, Existing::kReplace, is_box);
      put_box(made.path(), text);
      start.arrive_and_wait();
      made.commit();
    };
    std::thread first(write, "a"), second(write, "b");
    first.join();
    second.join();
  }
  EXPECT_EQ(names_in(folder_.path()).size(), 50U);
}

}  // namespace
}  // namespace mos
