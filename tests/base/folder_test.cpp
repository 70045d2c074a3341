#include "mos/base/folder.h"

#include <gmock/gmock.h>

#include "mos/base/error.h"
#include "mos/base/file.h"
#include "tests/support/temp_dir.h"

namespace {

namespace fs = std::filesystem;

TEST(Entries, AreSortedAndWithoutWhatSystemsLeaveBehind) {
  const mos::TempDir folder;
  for (const char* name : {"b.png", "a.png", "Thumbs.db", "THUMBS.DB", "desktop.ini", ".DS_Store",
                           "._a.png", "ehthumbs.db", "Icon\r", "a.png:Zone.Identifier"}) {
    mos::write_text_file(folder / name, "x");
  }
  for (const char* name : {"__MACOSX", "@eaDir", ".ipynb_checkpoints", "masks"}) {
    fs::create_directory(folder / name);
  }
  EXPECT_THAT(mos::entries_of(folder.path()),
              ::testing::ElementsAre(folder / "a.png", folder / "b.png", folder / "masks"));
}

TEST(Entries, OfAFolderThatIsNotThereAreAnIoError) {
  const mos::TempDir folder;
  try {
    mos::entries_of(folder / "nowhere");
    FAIL();
  } catch (const mos::Error& error) {
    EXPECT_EQ(error.kind(), mos::ErrorKind::kIo);
    EXPECT_THAT(error.what(), ::testing::HasSubstr("nowhere"));
  }
}

}  // namespace
