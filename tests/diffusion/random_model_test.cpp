#include "mos/diffusion/random_model.h"

#include <gtest/gtest.h>

#include <cmath>

#include "mos/diffusion/model.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tiny_model.h"

namespace mos::diffusion {
namespace {

checkpoint::ModelConfigs tiny_configs() {
  const auto settings = tiny::settings();
  checkpoint::ModelConfigs configs{settings.configs, settings.scheduler_config};
  auto& text = configs.networks[checkpoint::Part::kTextEncoder];
  text["vocab_size"] = 49408;  // CLIP's, which such a model is written with
  text["max_position_embeddings"] = 77;
  return configs;
}

TEST(RandomModel, ASeedMeansTheSameWeightsInEitherLayout) {
  const TempDir directory;
  write_random_model(directory / "folder", tiny_configs(), {.seed = 3});
  write_random_model(directory / "single.safetensors", tiny_configs(), {.seed = 3});
  write_random_model(directory / "other", tiny_configs(), {.seed = 4});
  const auto hash = [&](const char* name) { return model_hash(Model::load(directory / name)); };
  EXPECT_EQ(hash("folder"), hash("single.safetensors"));
  EXPECT_NE(hash("folder"), hash("other"));
}

TEST(RandomModel, WeightsAreScaledByTheirInputsAndStoredInTheAskedPrecision) {
  const TempDir directory;
  write_random_model(directory / "model", tiny_configs(), {.dtype = torch::kBFloat16});
  const auto model = Model::load(directory / "model", {.dtype = std::nullopt});
  const auto tensors = io::state_dict_of(*model.unet);
  const auto& weight = tensors.at("down_blocks.0.resnets.0.conv1.weight");
  EXPECT_EQ(weight.scalar_type(), torch::kBFloat16);
  const auto fan_in = static_cast<double>(weight.numel() / weight.size(0));
  // The deviation of n samples is known to about 1/√(2n), and these are hundreds.
  EXPECT_NEAR(weight.to(torch::kFloat64).std().item<double>() * std::sqrt(fan_in), 1.0, 0.15);
  EXPECT_TRUE(tensors.at("conv_norm_out.weight").eq(1.0).all().item<bool>());
  EXPECT_TRUE(tensors.at("conv_in.bias").eq(0.0).all().item<bool>());
}

}  // namespace
}  // namespace mos::diffusion
