#include "mos/base/place.h"

#include <gmock/gmock.h>

#include "tests/base/places.h"
#include "tests/support/errors.h"

namespace mos {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

class Places : public testing::Test {
 protected:
  void SetUp() override {
    test::put(folder_ / "new", "new");
    test::put(folder_ / "old", "old");
  }
  std::string text(const std::string& name) const { return read_text_file(folder_ / name); }

  const TempDir folder_;
};

TEST_F(Places, ANewNameIsTakenOnlyWhereNothingIs) {
  EXPECT_EQ(rename_new(folder_ / "new", folder_ / "old"), std::errc::file_exists);
  EXPECT_EQ(text("new"), "new");
  EXPECT_EQ(text("old"), "old");
  EXPECT_FALSE(rename_new(folder_ / "new", folder_ / "free"));
  EXPECT_EQ(text("free"), "new");
  EXPECT_TRUE(rename_new(folder_ / "new", folder_ / "free2")) << "it is not there any more";
}

TEST_F(Places, ADanglingLinkIsSomethingToo) {
  fs::create_symlink("nowhere", folder_ / "link");
  EXPECT_EQ(rename_new(folder_ / "new", folder_ / "link"), std::errc::file_exists);
  EXPECT_TRUE(fs::is_symlink(folder_ / "link"));
}

TEST_F(Places, LinksLeadToWhereWritingEnds) {
  fs::create_directory(folder_ / "deep");
  fs::create_symlink("../old", folder_ / "deep" / "second");
  fs::create_symlink("deep/second", folder_ / "first");
  fs::create_symlink("deep/none", folder_ / "dangling");
  const auto end = [&](const char* name) {
    return fs::weakly_canonical(behind_links(folder_ / name));
  };
  const auto here = fs::canonical(folder_.path());
  EXPECT_EQ(end("first"), here / "old");
  EXPECT_EQ(end("old"), here / "old");
  EXPECT_EQ(end("dangling"), here / "deep" / "none");
  EXPECT_EQ(end("absent"), here / "absent");
}

TEST_F(Places, LinksInACircleAreAnErrorAndNotTheEnd) {
  fs::create_symlink("b", folder_ / "a");
  fs::create_symlink("a", folder_ / "b");
  EXPECT_THAT(test::message_of(ErrorKind::kIo, [&] { behind_links(folder_ / "a"); }),
              HasSubstr((folder_ / "a").string()));
}

TEST_F(Places, MountsAreKnownAndOrdinaryFoldersAreNone) {
  EXPECT_TRUE(is_mount_point("/"));
  if (fs::exists("/proc/self")) {
    EXPECT_TRUE(is_mount_point("/proc"));
  }
  EXPECT_FALSE(is_mount_point(folder_.path()));
  EXPECT_FALSE(is_mount_point(folder_ / "old"));
  EXPECT_FALSE(is_mount_point(folder_ / "absent"));
}

TEST_F(Places, AFolderTakesThePlaceOfTheFormerWithAllThatIsInIt) {
  for (const char* name : {"made", "former"}) {
    fs::create_directory(folder_ / name);
    test::put(folder_ / name / name, name);
  }
  EXPECT_FALSE(replace_folder(folder_ / "made", folder_ / "former"));
  EXPECT_THAT(test::names_in(folder_ / "former"), ElementsAre("made"));
  EXPECT_THAT(test::names_in(folder_.path()), ElementsAre("former", "new", "old"));
  EXPECT_TRUE(replace_folder(folder_ / "absent", folder_ / "former"));
  EXPECT_THAT(test::names_in(folder_ / "former"), ElementsAre("made")) << "nothing took its place";
}

TEST_F(Places, FoldersThatCannotBeSyncedAreNoReasonToFail) {
  EXPECT_NO_THROW(sync_folder(folder_.path()));
  EXPECT_NO_THROW(sync_folder(folder_ / "absent"));
  EXPECT_NO_THROW(sync_folder("/proc"));
}

}  // namespace
}  // namespace mos
