#include "mos/fuse/captions.h"

#include <gmock/gmock.h>

#include <set>

#include "mos/base/error.h"
#include "mos/base/file.h"
#include "tests/support/temp_dir.h"

namespace {

using testing::ElementsAre;

TEST(Captions, OfOurOwnAreTwoHundredDifferentOnes) {
  const auto captions = mos::fuse::captions_of("");
  EXPECT_EQ(captions.size(), 200U);
  EXPECT_EQ(std::set<std::string>(captions.begin(), captions.end()).size(), 200U);
}

TEST(Captions, AreTheLinesOfAFile) {
  const mos::TempDir folder;
  const auto file = folder / "captions.txt";
  mos::write_text_file(file, "a dog\r\n\n  \na cat at sea \n");
  EXPECT_THAT(mos::fuse::captions_of(file), ElementsAre("a dog", "a cat at sea"));
  mos::write_text_file(file, "\n");
  EXPECT_THROW(mos::fuse::captions_of(file), mos::Error);
  EXPECT_THROW(mos::fuse::captions_of(folder / "none.txt"), mos::Error);
}

}  // namespace
