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

TEST(FindLora, FoldersOfWindowsAreFolders) {
  const TempDir folder;
  std::filesystem::create_directories(folder / "loras/style/old");
  for (const char* name : {"loras/style/old/ink.safetensors", "loras/style\\bear.pt"}) {
    write_text_file(folder / name, "x");
  }
  const auto loras = folder / "loras";
  for (const char* name : {"style\\old\\ink.safetensors", "style\\old/ink"}) {
    EXPECT_EQ(find_lora(name, loras), (loras / "style/old/ink.safetensors").string());
  }
  EXPECT_EQ(find_lora("style\\bear", loras),
            (loras / "style\\bear.pt").string());  // a file of Linux
}

TEST(FindLora, SaysWhoNamesTheFile) {
  const auto message = [](const char* name, const char* painted) {
    return message_of(ErrorKind::kUsage, [&] { find_lora(name, "nowhere", painted); });
  };
  EXPECT_THAT(message("a", ""), HasSubstr("a prompt names <lora:a>, but there is no file"));
  EXPECT_THAT(message("s\\a", "x.png"),
              AllOf(HasSubstr("x.png was painted with the LoRA s\\a, but there is no file "
                              "s/a.safetensors in nowhere"),
                    ::testing::Not(HasSubstr("--plain-text"))));
  EXPECT_THAT(message("../a", "x.png"), HasSubstr("x.png was painted with the LoRA ../a, but a"));
}

TEST(FindLora, NoNameLeadsOutOfTheFolder) {
  const TempDir folder;
  std::filesystem::create_directories(folder / "loras");
  write_text_file(folder / "outside.safetensors", "x");
  for (const auto& name :
       {std::string("../outside"), std::string("style/../../outside"),
        std::string("style\\..\\..\\outside"), (folder / "outside.safetensors").string()}) {
    EXPECT_THAT(message_of(ErrorKind::kUsage, [&] { find_lora(name, folder / "loras"); }),
                HasSubstr("no other place than --lora-folder"))
        << name;
  }
}

}  // namespace
}  // namespace mos::session
