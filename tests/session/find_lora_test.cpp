#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "mos/base/file.h"
#include "mos/session/session.h"
#include "tests/support/errors.h"
#include "tests/support/temp_dir.h"

namespace mos::session {
namespace {

using test::message_of;
using ::testing::HasSubstr;

TEST(FindLora, TakesNamesInTheFolderAndBelowIt) {
  const TempDir folder;
  std::filesystem::create_directories(folder / "loras/style");
  for (const char* name : {"loras/bear.safetensors", "loras/style/ink.pt", "outside.safetensors"}) {
    write_text_file(folder / name, "x");
  }
  const auto loras = folder / "loras";
  EXPECT_EQ(find_lora("bear", loras), (loras / "bear.safetensors").string());
  EXPECT_EQ(find_lora("style/ink", loras), (loras / "style/ink.pt").string());
}

TEST(FindLora, NoNameLeadsOutOfTheFolder) {
  const TempDir folder;
  std::filesystem::create_directories(folder / "loras");
  write_text_file(folder / "outside.safetensors", "x");
  for (const auto& name : {std::string("../outside"), std::string("style/../../outside"),
                           (folder / "outside.safetensors").string()}) {
    EXPECT_THAT(message_of(ErrorKind::kUsage, [&] { find_lora(name, folder / "loras"); }),
                HasSubstr("no other place than --lora-folder"))
        << name;
  }
}

}  // namespace
}  // namespace mos::session
