#include "mos/base/outputs.h"

#include <gmock/gmock.h>
#include <sys/stat.h>

#include <stdexcept>

#include "tests/base/places.h"

namespace mos {
namespace {

namespace fs = std::filesystem;
using test::error_of;
using test::names_in;
using test::put;
using testing::AllOf;
using testing::HasSubstr;

/// A kind of file that begins with "note".
const FileKind kNote = {
    "a note", [](const fs::path& path) { return read_text_file(path).starts_with("note"); }};

class OutputsTest : public testing::Test {
 protected:
  OutputsTest() {
    put(folder_ / "in", "an input");
    put(folder_ / "note", "note of an earlier run");
  }

  fs::path at(const std::string& name) const { return folder_ / name; }

  void read(const std::string& name) { outputs_.read("--in", at(name)); }
  void write(const std::string& name, const std::string& flag = "--out") {
    outputs_.write(FileOutput{.name = flag, .path = at(name), .kind = kNote});
  }
  std::string refusal() {
    return error_of(ErrorKind::kUsage, [this] { outputs_.check(); });
  }
  std::string failure() {
    return error_of(ErrorKind::kIo, [this] { outputs_.check(); });
  }

  TempDir folder_;
  Outputs outputs_;
};

TEST_F(OutputsTest, DistinctPlacesAreFineAndNothingIsLeftBehind) {
  read("in");
  write("note");
  write("new", "--report");
  outputs_.write(FolderOutput{.name = "--model", .path = at("folder"), .may_replace = {}});
  outputs_.check();
  EXPECT_EQ(names_in(folder_.path()), (std::set<std::string>{"in", "note"}));
  EXPECT_EQ(read_text_file(at("note")), "note of an earlier run");
}

TEST_F(OutputsTest, AnOutputNeverTakesThePlaceOfAnInput) {
  put(at("note in"), "note that is read");
  read("note in");
  write("note in");
  EXPECT_THAT(refusal(), AllOf(HasSubstr("--out would take the place of --in"),
                               HasSubstr(at("note in").string())));
}

TEST_F(OutputsTest, OneFileUnderAnotherNameIsKnown) {
  put(at("source"), "note");
  fs::create_symlink("source", at("link"));
  fs::create_hard_link(at("source"), at("hard link"));
  fs::create_directory(at("sub"));
  fs::create_directory_symlink("sub", at("link to sub"));
  for (const auto& [in, out] : {std::pair{"source", "./source"},
                                {"source", "sub/../source"},
                                {"source", "link"},
                                {"link", "source"},
                                {"source", "hard link"},
                                {"sub/new", "link to sub/new"}}) {
    outputs_ = {};
    read(in);
    write(out);
    EXPECT_THAT(refusal(), HasSubstr("--out would take the place of --in")) << in << " " << out;
  }
}

TEST_F(OutputsTest, TwoOutputsAreNeverOne) {
  write("new");
  write("./new", "--report");
  EXPECT_THAT(refusal(), HasSubstr("--report would take the place of --out"));
}

TEST_F(OutputsTest, AFileOfAnotherKindIsNotReplaced) {
  write("in");
  EXPECT_THAT(refusal(), AllOf(HasSubstr("--out would replace"), HasSubstr("is not a note")));
  outputs_ = {};
  outputs_.write(FileOutput{
      .name = "--out", .path = at("in"), .kind = {"a picture", [](const fs::path&) -> bool {
                                                    throw std::runtime_error("a damaged file");
                                                  }}});
  EXPECT_THAT(refusal(), HasSubstr("is not a picture"));
  put(at("empty"), "");
  outputs_ = {};
  write("empty");
  outputs_.check();
}

TEST_F(OutputsTest, AFolderThatIsReplacedHoldsNoInputAndNoOtherOutput) {
  const auto lets_go = [](const fs::path&) {};
  fs::create_directory(at("folder"));
  put(at("folder/in"), "an input");
  const FolderOutput folder = {"--model", at("folder"), Existing::kReplace, lets_go};
  read("folder/in");
  outputs_.write(folder);
  EXPECT_THAT(refusal(), HasSubstr("--in lies in the folder of --model"));
  outputs_ = {};
  write("folder/new", "--report");
  outputs_.write(folder);
  EXPECT_THAT(refusal(), HasSubstr("--report lies in the folder of --model"));
  outputs_ = {};
  read("folder");
  outputs_.write(folder);
  EXPECT_THAT(refusal(), HasSubstr("--model would take the place of --in"));
  outputs_ = {};
  read("in");
  outputs_.write(folder);
  outputs_.check();
  EXPECT_TRUE(fs::exists(at("folder/in")));
}

TEST_F(OutputsTest, AFolderMayBeWrittenInAFolderThatIsRead) {
  fs::create_directory(at("base"));
  outputs_.read("--base", at("base"));
  outputs_.write(FolderOutput{.name = "--model", .path = at("base/fused"), .may_replace = {}});
  write("base/new");
  outputs_.check();
}

TEST_F(OutputsTest, WhatCannotBeWrittenShowsAtOnce) {
  outputs_.write(FileOutput{.name = "--out", .path = "/proc/new", .kind = kNote});
  EXPECT_THAT(failure(), HasSubstr("/proc/new"));
  outputs_ = {};
  outputs_.write(FolderOutput{.name = "--out", .path = "/proc/new", .may_replace = {}});
  EXPECT_THAT(failure(), HasSubstr("/proc/new"));
  outputs_ = {};
  write("none/new");
  EXPECT_THAT(failure(), HasSubstr("No such file"));
  fs::create_directory(at("folder"));
  outputs_ = {};
  write("folder");
  EXPECT_THAT(failure(), HasSubstr("it is a folder"));
}

TEST_F(OutputsTest, AFileInThePlaceOfAFolderIsCalledAsItWasWritten) {
  outputs_.write(
      FileOutput{.name = "--out", .path = "/dev/null/new", .kind = kNote, .makes_folder = true});
  EXPECT_THAT(failure(), HasSubstr("cannot lie in /dev/null: it is a file"));
}

TEST_F(OutputsTest, AFolderForAFileIsMadeOnlyLater) {
  outputs_.write(
      FileOutput{.name = "--out", .path = at("a/b/new"), .kind = kNote, .makes_folder = true});
  outputs_.check();
  EXPECT_FALSE(fs::exists(at("a")));
  outputs_ = {};
  outputs_.write(
      FileOutput{.name = "--out", .path = at("in/b/new"), .kind = kNote, .makes_folder = true});
  EXPECT_THAT(failure(), HasSubstr("it is a file, expected a folder"));
}

TEST_F(OutputsTest, LeftoversOfDeadProcessesAreClearedWhereItWrites) {
  fs::create_directory(at("folder"));
  const std::string leftover = ".fox.mos-ffffffff-00000001.part";
  const auto long_ago = fs::file_time_type::clock::now() - std::chrono::hours(48);
  for (const auto& place : {at(leftover), at("folder/" + leftover)}) {
    put(place, "half");
    fs::last_write_time(place, long_ago);
  }
  write("folder/new");
  outputs_.check();
  EXPECT_FALSE(fs::exists(at("folder/" + leftover)));
  EXPECT_TRUE(fs::exists(at(leftover))) << "nothing is written there";
}

}  // namespace
}  // namespace mos
