#include <gmock/gmock.h>

#include <filesystem>

#include "mos/io/safetensors.h"
#include "tests/support/golden.h"
#include "tests/support/temp_dir.h"

namespace {

namespace fs = std::filesystem;

/// Every .safetensors file of the golden folder.
std::vector<fs::path> safetensors_files() {
  std::vector<fs::path> files;
  if (!fs::is_directory(mos::golden::directory())) return files;
  for (const auto& entry : fs::recursive_directory_iterator(mos::golden::directory())) {
    if (entry.path().extension() == ".safetensors") files.push_back(entry.path());
  }
  return files;
}

TEST(GoldenIo, EveryFileOfTheReferenceSurvivesWritingAndReading) {
  const auto files = safetensors_files();
  if (files.empty()) GTEST_SKIP() << "no .safetensors file is there";
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

}  // namespace
