#include <gtest/gtest.h>

#include <filesystem>

#include "mos/base/file.h"
#include "mos/studio/http.h"
#include "mos/studio/studio_folder.h"
#include "tests/support/temp_dir.h"

namespace mos::studio {
namespace {

TEST(StudioFolder, NoPathLeadsOut) {
  const TempDir scratch;
  const StudioFolder folder(scratch.path() / "studio");
  write_text_file(scratch.path() / "secret", "x");
  std::filesystem::create_symlink(scratch.path(), folder.root() / "gallery/link");
  for (const char* path :
       {"", "/", "/etc/passwd", "..", "../secret", "gallery/../../secret", "gallery/..",
        "gallery//a.png", "gallery/./a.png", "gallery/.hidden", "gallery/link/secret",
        "studio.sqlite", "gallery\\..\\x", "gallery/a\nb", "gallery/a\x7f", "gallery/ a",
        "gallery/\xff", "elsewhere/a.png", "gallery/a/b/c/d/e/f/g/h/i"}) {
    EXPECT_THROW((void)folder.inside(path), Refused) << path;
  }
  EXPECT_EQ(folder.inside("gallery/a.png"), folder.root() / "gallery/a.png");
}

TEST(StudioFolder, LinksAreFollowedInModelsAloneAndNothingIsWrittenThere) {
  const TempDir scratch;
  const StudioFolder folder(scratch.path() / "studio");
  std::filesystem::create_symlink(scratch.path(), folder.root() / "models/base");
  EXPECT_EQ(folder.inside("models/base"), folder.root() / "models/base");
  EXPECT_THROW((void)folder.inside("models/base/x", Access::kWrite), Refused);
  EXPECT_THROW((void)folder.inside("gallery", Access::kWrite), Refused);
}

TEST(StudioFolder, WhatIsDiscardedLiesInTheTrashUnderANameOfItsOwn) {
  const TempDir scratch;
  const StudioFolder folder(scratch.path() / "studio");
  for (const char* text : {"one", "two"}) {
    write_text_file(folder.root() / "gallery/a.png", text);
    folder.discard("gallery/a.png");
  }
  folder.discard("gallery/a.png");  // is not there: nothing happens
  EXPECT_EQ(read_text_file(folder.root() / "trash/a.png"), "one");
  EXPECT_EQ(read_text_file(folder.root() / "trash/a-2.png"), "two");
}

}  // namespace
}  // namespace mos::studio
