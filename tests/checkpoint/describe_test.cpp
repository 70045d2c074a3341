#include "mos/checkpoint/describe.h"

#include <gtest/gtest.h>

#include "mos/base/error.h"
#include "mos/base/file.h"
#include "tests/support/temp_dir.h"

namespace {

TEST(WeightsOfAFolder, AreTheSameInWhateverOrderTheSystemListsThem) {
  const mos::TempDir folder;
  EXPECT_THROW(mos::checkpoint::weights_in(folder.path()), mos::Error);
  // Each is better than those before it.
  for (const char* name : {"b.bin", "model.fp16.safetensors", "model.safetensors"}) {
    mos::write_text_file(folder / "._model.safetensors", "left by macOS");
    mos::write_text_file(folder / name, "x");
    EXPECT_EQ(mos::checkpoint::weights_in(folder.path()), folder / name);
  }
  mos::write_text_file(folder / "bodel.safetensors", "x");
  EXPECT_EQ(mos::checkpoint::weights_in(folder.path()), folder / "bodel.safetensors");
}

}  // namespace
