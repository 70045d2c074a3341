#include <gmock/gmock.h>

#include <filesystem>

#include "mos/base/error.h"
#include "mos/base/file.h"
#include "mos/world/sample_concepts.h"
#include "mos/world/vocabulary.h"
#include "tests/support/temp_dir.h"
#include "tests/world/synthetic_sprites.h"

namespace mos::world {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

/// The message of the kUsage that `action` throws; empty if none.
template <typename Action>
std::string refusal(Action action) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kUsage);
    return error.what();
  }
  return "";
}

TEST(WriteVocabulary, ReplacesNoOtherTokenizer) {
  const TempDir folder;
  write_vocabulary(folder.path());
  write_vocabulary(folder.path());  // its own, again
  write_text_file(folder / "vocab.json", "{}");
  EXPECT_THAT(refusal([&] { write_vocabulary(folder.path()); }),
              HasSubstr("vocab.json is of another tokenizer"));
  EXPECT_EQ(read_text_file(folder / "vocab.json"), "{}");
}

TEST(WriteSampleConcepts, ReplacesNoFolderWithOtherPictures) {
  const SyntheticSprites sprites;
  const TempDir folder;
  const auto write = [&] { write_sample_concepts(sprites.folder(), folder.path()); };
  write();
  write();  // its own, again
  const auto last = folder.path() / sample_concepts().back().name;
  write_text_file(last / "images/mine.png", "a picture of the user's");
  fs::remove(folder.path() / sample_concepts().front().name / "images/07.png");
  EXPECT_THAT(refusal(write), HasSubstr("mine.png"));
  EXPECT_TRUE(fs::exists(last / "images/mine.png"));
  EXPECT_FALSE(fs::exists(folder.path() / sample_concepts().front().name / "images/07.png"))
      << "nothing is written before all is checked";
}

}  // namespace
}  // namespace mos::world
