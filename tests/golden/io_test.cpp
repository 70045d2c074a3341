#include <gmock/gmock.h>

#include <filesystem>
#include <string>
#include <vector>

#include "mos/io/safetensors.h"
#include "mos/io/torch_file.h"
#include "tests/support/golden.h"
#include "tests/support/temp_dir.h"

namespace {

namespace fs = std::filesystem;

/// Every file of the golden folder with this extension.
std::vector<fs::path> files_with(const char* extension) {
  std::vector<fs::path> files;
  if (!fs::is_directory(mos::golden::directory())) return files;
  for (const auto& entry : fs::recursive_directory_iterator(mos::golden::directory())) {
    if (entry.path().extension() == extension) files.push_back(entry.path());
  }
  return files;
}

TEST(GoldenIo, EveryFileOfTheReferenceSurvivesWritingAndReading) {
  const auto files = files_with(".safetensors");
  if (files.empty()) GTEST_SKIP() << "not there: any .safetensors file";
  const mos::TempDir folder;
  for (const auto& path : files) {
    const mos::io::SafetensorsFile file(path);
    const auto original = mos::io::load_safetensors(path);
    mos::io::save_safetensors(folder / "copy.safetensors", original, file.metadata());
    const mos::io::SafetensorsFile copy(folder / "copy.safetensors");
    EXPECT_EQ(copy.metadata(), file.metadata()) << path;
    ASSERT_EQ(copy.tensors().size(), original.size()) << path;
    for (const auto& [name, tensor] : original) {
      EXPECT_TRUE(copy.get(name).equal(tensor)) << path << " " << name;
      EXPECT_EQ(copy.get(name).scalar_type(), tensor.scalar_type()) << path << " " << name;
    }
  }
}

void expect_equal(const mos::io::StateDict& actual, const mos::io::StateDict& expected) {
  EXPECT_EQ(actual.size(), expected.size());
  for (const auto& [name, tensor] : expected) {
    const auto found = actual.find(name);
    ASSERT_NE(found, actual.end()) << name;
    EXPECT_TRUE(found->second.equal(tensor)) << name;
  }
}

mos::io::StateDict params_of(const fs::path& path) {
  const auto file = mos::io::read_torch_file(path);
  const auto* params = file.find("params");
  if (params == nullptr) return {};
  return mos::io::flatten_tensors(*params);
}

TEST(GoldenIo, TorchFilesHoldWhatTheirSafetensorsTwinsHold) {
  int compared = 0;
  for (const auto& path : files_with(".pth")) {
    const auto twin = fs::path(path).replace_extension(".safetensors");
    if (!fs::exists(twin)) continue;
    SCOPED_TRACE(path);
    expect_equal(params_of(path), mos::io::load_safetensors(twin));
    ++compared;
  }
  if (compared == 0) GTEST_SKIP() << "not there: a .pth file with a .safetensors twin";
}

TEST(GoldenIo, TheStartOfTheTrainingCasesIsTheSameInBothFormats) {
  const std::string pth = "edlora_init.pth", safetensors = "edlora_train.safetensors";
  if (const auto why = mos::golden::missing({pth, safetensors}); !why.empty()) GTEST_SKIP() << why;
  const std::string prefix = "init/";
  mos::io::StateDict expected;
  for (const auto& [name, tensor] : mos::io::load_safetensors(*mos::golden::find(safetensors))) {
    if (name.starts_with(prefix)) expected[name.substr(prefix.size())] = tensor;
  }
  expect_equal(params_of(*mos::golden::find(pth)), expected);
}

}  // namespace
