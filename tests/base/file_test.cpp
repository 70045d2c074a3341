#include "mos/base/file.h"

#include <gmock/gmock.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "tests/base/places.h"

namespace mos {
namespace {

namespace fs = std::filesystem;
using test::error_of;
using test::names_in;
using test::put;
using testing::AllOf;
using testing::HasSubstr;

unsigned permissions_of(const fs::path& path) {
  return static_cast<unsigned>(fs::status(path).permissions());
}

TEST(AtomicFile, TheFormerFileStandsUntilTheNewOneIsComplete) {
  const TempDir folder;
  put(folder / "fox", "former");
  {
    AtomicFile file(folder / "fox");
    file.write("half");
    EXPECT_EQ(read_text_file(folder / "fox"), "former");
  }
  EXPECT_EQ(read_text_file(folder / "fox"), "former");
  write_text_file(folder / "fox", "new");
  EXPECT_EQ(read_text_file(folder / "fox"), "new");
  EXPECT_EQ(names_in(folder.path()), std::set<std::string>{"fox"});
}

TEST(AtomicFile, PermissionsOfAReplacedFileStay) {
  const TempDir folder;
  for (const unsigned permissions : {0600U, 0664U, 0755U}) {
    put(folder / "fox", "former");
    fs::permissions(folder / "fox", fs::perms(permissions));
    write_text_file(folder / "fox", "new");
    EXPECT_EQ(permissions_of(folder / "fox"), permissions);
  }
}

TEST(AtomicFile, OwnersOfReplacedFilesStay) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root gives files away";
  const TempDir folder;
  put(folder / "fox", "former");
  ASSERT_EQ(::chown((folder / "fox").c_str(), 65534, 65534), 0);
  write_text_file(folder / "fox", "new");
  struct stat now {};
  ASSERT_EQ(::stat((folder / "fox").c_str(), &now), 0);
  EXPECT_EQ(now.st_uid, 65534U);
}

TEST(AtomicFile, NewFilesHaveThePermissionsThatTheUserWants) {
  const TempDir folder;
  const auto former = ::umask(027);
  write_text_file(folder / "fox", "new");
  ::umask(former);
  EXPECT_EQ(permissions_of(folder / "fox"), 0640U);
}

TEST(AtomicFile, SymbolicLinksStayAndLeadToTheNewFile) {
  const TempDir folder;
  fs::create_directory(folder / "store");
  put(folder / "store/fox-1", "former");
  fs::create_symlink("store/fox-1", folder / "fox");
  fs::create_symlink(folder / "fox", folder / "link to a link");
  write_text_file(folder / "link to a link", "new");
  EXPECT_TRUE(fs::is_symlink(folder / "fox"));
  EXPECT_TRUE(fs::is_symlink(folder / "link to a link"));
  EXPECT_EQ(read_text_file(folder / "store/fox-1"), "new");

  fs::create_symlink("store/fox-2", folder / "leads to nothing");
  write_text_file(folder / "leads to nothing", "second");
  EXPECT_EQ(read_text_file(folder / "store/fox-2"), "second");

  fs::create_symlink("b", folder / "a");
  fs::create_symlink("a", folder / "b");
  EXPECT_THAT(error_of(ErrorKind::kIo, [&] { write_text_file(folder / "a", "new"); }),
              HasSubstr("circle"));
}

TEST(AtomicFile, OnlyPlainFilesAreReplaced) {
  const TempDir folder;
  fs::create_directory(folder / "folder");
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  const auto error = [&](const char* name) {
    return error_of(ErrorKind::kIo, [&] { write_text_file(folder / name, "new"); });
  };
  EXPECT_THAT(error("pipe"),
              AllOf(HasSubstr("it is no plain file"), HasSubstr((folder / "pipe-2").string())));
  EXPECT_THAT(
      error_of(ErrorKind::kIo, [&] { check_file_target(folder / "pipe", Existing::kReplace); }),
      HasSubstr("it is no plain file"));
  EXPECT_THAT(error_of(ErrorKind::kIo, [] { AtomicFile file("/dev/null"); }),
              HasSubstr("it is no plain file"));
  EXPECT_EQ(names_in(folder.path()).size(), 3U);
  EXPECT_THAT(error("folder"), AllOf(HasSubstr("it is a folder, expected a file"),
                                     HasSubstr((folder / "folder-2").string())));
  EXPECT_EQ(read_text_file(folder / "folder-2"), "new");
  EXPECT_EQ(permissions_of(folder / "folder-2") & 0111U, 0U) << "those of a folder are no file's";
  EXPECT_THAT(
      error_of(ErrorKind::kIo, [&] { check_file_target(folder / "folder", Existing::kReplace); }),
      HasSubstr("it is a folder, expected a file"));
}

TEST(AtomicFile, WriteProtectedFilesAreNotReplaced) {
  const TempDir folder;
  fs::permissions(folder.path(), fs::perms(0777));
  put(folder / "fox", "former");
  fs::permissions(folder / "fox", fs::perms(0444));
  const bool is_root = ::geteuid() == 0;
  if (is_root) {
    ASSERT_EQ(::seteuid(65534), 0);
  }
  const auto before =
      error_of(ErrorKind::kIo, [&] { check_file_target(folder / "fox", Existing::kReplace); });
  const auto message = error_of(ErrorKind::kIo, [&] { write_text_file(folder / "fox", "new"); });
  if (is_root) {
    ASSERT_EQ(::seteuid(0), 0);
  }
  EXPECT_THAT(before, HasSubstr("Permission denied"));
  EXPECT_THAT(message,
              AllOf(HasSubstr("Permission denied"), HasSubstr((folder / "fox-2").string())));
  EXPECT_EQ(read_text_file(folder / "fox"), "former");
  EXPECT_EQ(read_text_file(folder / "fox-2"), "new");
}

TEST(AtomicFile, ANameTooLongForTheSystemIsAnErrorBeforeTheWork) {
  const TempDir folder;
  EXPECT_THAT(error_of(ErrorKind::kIo, [&] { AtomicFile file(folder / std::string(256, 'x')); }),
              HasSubstr("File name too long"));
  write_text_file(folder / std::string(255, 'x'), "the longest that is one");
}

TEST(AtomicFile, AFileThatMustNotBeReplacedIsAnErrorBeforeTheWork) {
  const TempDir folder;
  put(folder / "fox", "former");
  EXPECT_THAT(
      error_of(ErrorKind::kUsage, [&] { check_file_target(folder / "fox", Existing::kRefuse); }),
      HasSubstr("it exists already"));
}

TEST(AtomicFile, WhatAppearsMeanwhileStaysAndTheResultIsBesideIt) {
  const TempDir folder;
  AtomicFile file(folder / "fox.safetensors", {.existing = Existing::kRefuse});
  file.write("result");
  put(folder / "fox.safetensors", "somebody else's");
  put(folder / "fox-2.safetensors", "somebody else's too");
  const auto message = error_of(ErrorKind::kIo, [&] { file.commit(); });
  EXPECT_THAT(message,
              HasSubstr("the complete result is in " + (folder / "fox-3.safetensors").string()));
  EXPECT_EQ(read_text_file(folder / "fox.safetensors"), "somebody else's");
  EXPECT_EQ(read_text_file(folder / "fox-2.safetensors"), "somebody else's too");
  EXPECT_EQ(read_text_file(folder / "fox-3.safetensors"), "result");
}

TEST(AtomicFile, OnlyFilesOfTheKindAreReplacedWheneverTheyAppear) {
  const TempDir folder;
  const FileKind greeting = {
      "a greeting", [](const fs::path& path) { return read_text_file(path).starts_with("hello"); }};
  const auto write = [&](const char* text) {
    write_text_file(folder / "fox", text, {.kind = greeting});
  };
  write("hello, fox");
  write("hello again");
  put(folder / "fox", "");
  write("hello where there was nothing");
  EXPECT_EQ(read_text_file(folder / "fox"), "hello where there was nothing");
  AtomicFile file(folder / "fox", {.kind = greeting});
  file.write("hello, late");
  put(folder / "fox", "mine");
  EXPECT_THAT(error_of(ErrorKind::kIo, [&] { file.commit(); }),
              AllOf(HasSubstr("there is a file now that is not a greeting"),
                    HasSubstr((folder / "fox-2").string())));
  EXPECT_EQ(read_text_file(folder / "fox"), "mine");
  EXPECT_EQ(read_text_file(folder / "fox-2"), "hello, late");
}

TEST(AtomicFile, WhenAFolderTakesItsPlaceMeanwhileTheResultIsBesideIt) {
  const TempDir folder;
  AtomicFile file(folder / "fox.safetensors");
  file.write("result");
  fs::create_directory(folder / "fox.safetensors");
  EXPECT_THAT(error_of(ErrorKind::kIo, [&] { file.commit(); }), HasSubstr("fox-2.safetensors"));
  EXPECT_EQ(read_text_file(folder / "fox-2.safetensors"), "result");
}

TEST(AtomicFile, WhatWillBeWrittenAgainLeavesNoCopiesWhereItCannotTakeItsPlace) {
  const TempDir folder;
  for (int i = 0; i < 3; ++i) {
    AtomicFile file(folder / "run.checkpoint", {.unplaced = Unplaced::kDiscard});
    file.write("a step");
    fs::create_directory(folder / "run.checkpoint");
    EXPECT_THAT(error_of(ErrorKind::kIo, [&] { file.commit(); }), HasSubstr("cannot write"));
    fs::remove(folder / "run.checkpoint");
  }
  EXPECT_TRUE(names_in(folder.path()).empty());
}

TEST(AtomicFile, TwoThreadsThatWriteOneFileLeaveOneOfTheirs) {
  const TempDir folder;
  const auto write = [&folder](char letter) {
    for (int i = 0; i < 50; ++i) {
      AtomicFile file(folder / "fox");
      for (int block = 0; block < 10; ++block) file.write(std::string(1000, letter));
      file.commit();
    }
  };
  std::thread first(write, 'a'), second(write, 'b');
  first.join();
  second.join();
  const auto text = read_text_file(folder / "fox");
  EXPECT_TRUE(text == std::string(10000, 'a') || text == std::string(10000, 'b'));
  EXPECT_EQ(names_in(folder.path()).size(), 1U);
}

TEST(ReadTextFile, OneWithoutEndIsRefusedAfterSomeMegabytes) {
  EXPECT_THAT(error_of(ErrorKind::kIo, [] { read_text_file("/dev/zero"); }),
              HasSubstr("cannot read /dev/zero: it has more than 16 MB"));
  const TempDir folder;
  put(folder / "picture", std::string((16U << 20) + 1, 'x'));
  EXPECT_EQ(read_whole_file(folder / "picture").size(), (16U << 20) + 1);
}

TEST(ReadTextFile, ReadsAPipeToItsEnd) {
  const TempDir folder;
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  std::thread writer([&] { put(folder / "pipe", std::string(200'000, 'x')); });
  EXPECT_EQ(read_text_file(folder / "pipe"), std::string(200'000, 'x'));
  writer.join();
}

TEST(ReadTextFile, ASignalThatEndsWorkEndsTheWaitForAPipe) {
  const TempDir folder;
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  struct sigaction action {
  }, before{};
  action.sa_handler = [](int) {};
  ::sigaction(SIGTERM, &action, &before);
  std::atomic<bool> is_over = false;
  const auto reader = ::pthread_self();
  std::thread killer([&] {  // more than once: the first may come before the wait
    while (!is_over) {
      ::pthread_kill(reader, SIGTERM);
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  });
  const auto said = error_of(ErrorKind::kCancelled, [&] { (void)read_text_file(folder / "pipe"); });
  is_over = true;
  killer.join();
  ::sigaction(SIGTERM, &before, nullptr);
  EXPECT_EQ(said, "stopped on request");
}

TEST(MakeFolders, SaysWhatCannotBeMade) {
  const TempDir folder;
  make_folders(folder / "a/b");
  make_folders(folder / "a/b");
  EXPECT_TRUE(fs::is_directory(folder / "a/b"));
  put(folder / "file", "");
  EXPECT_THAT(error_of(ErrorKind::kIo, [&] { make_folders(folder / "file/b"); }),
              HasSubstr("cannot create folder"));
}

}  // namespace
}  // namespace mos
