#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "mos/concepts/concept_file.h"
#include "mos/io/safetensors.h"
#include "mos/nn/linear.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tiny_model.h"

/// LoRA that make networks fit for a few steps (LCM, Hyper-SD, TCD, and what is trained like them)
/// change every kind of layer of the U-Net, convolutions and time embeddings too. They lie on disk
/// as kohya's: flat names, float16, an alpha for each layer and no metadata that says what they
/// are.
namespace mos::concepts {
namespace {

using enum checkpoint::Part;
using torch::Tensor;

/// The layers that the training of LCM-LoRA names (diffusers, train_lcm_distill_lora_sd_wds.py).
bool is_distilled(const std::string& name) {
  static const std::vector<std::string> endings = {"to_q",          "to_k",
                                                   "to_v",          "to_out.0",
                                                   "proj_in",       "proj_out",
                                                   "ff.net.0.proj", "ff.net.2",
                                                   "conv1",         "conv2",
                                                   "conv_shortcut", "downsamplers.0.conv",
                                                   "time_emb_proj", "upsamplers.0.conv"};
  return std::any_of(endings.begin(), endings.end(),
                     [&](const std::string& ending) { return name.ends_with("." + ending); });
}

struct Pair {
  Tensor down, up;
};

std::map<std::string, Pair> random_pairs(const diffusion::Model& model, std::int64_t rank) {
  auto generator = seeded_generator(3);
  std::map<std::string, Pair> pairs;
  for (const auto& entry : model.unet->named_modules()) {
    const auto layer = std::dynamic_pointer_cast<nn::LoraLayer>(entry.value());
    if (!layer || !is_distilled("." + entry.key())) continue;
    auto down = layer->weight.sizes().vec(), up = std::vector<std::int64_t>(down.size(), 1);
    up[0] = down[0];
    down[0] = up[1] = rank;
    pairs[entry.key()] = {randn(down, generator).to(torch::kFloat16),
                          randn(up, generator).to(torch::kFloat16)};
  }
  return pairs;
}

std::string flat(std::string name) {
  std::replace(name.begin(), name.end(), '.', '_');
  return "lora_unet_" + name;
}

TEST(FewStepFiles, EveryLayerOfAFileIsReadWithItsAlpha) {
  constexpr std::int64_t kRank = 4;
  constexpr double kAlpha = 2.0;
  const auto model = tiny::model();
  const auto pairs = random_pairs(model, kRank);
  io::StateDict file;
  for (const auto& [name, pair] : pairs) {
    file[flat(name) + ".lora_down.weight"] = pair.down;
    file[flat(name) + ".lora_up.weight"] = pair.up;
    file[flat(name) + ".alpha"] = torch::tensor(kAlpha).to(torch::kFloat16);
  }
  const TempDir folder;
  io::save_safetensors(folder / "lcm-lora-sdv1-5.safetensors", file, {});
  const auto delta = load_concept(folder / "lcm-lora-sdv1-5.safetensors");
  const auto& updates = delta.of(kUNet);
  ASSERT_EQ(updates.size(), pairs.size());
  EXPECT_THAT(pairs, testing::Contains(testing::Key("down_blocks.0.resnets.0.time_emb_proj")));
  EXPECT_THAT(pairs, testing::Contains(testing::Key("down_blocks.0.downsamplers.0.conv")));
  for (const auto& entry : model.unet->named_modules()) {
    const auto found = pairs.find(entry.key());
    if (found == pairs.end()) continue;
    const auto& weight = std::dynamic_pointer_cast<nn::LoraLayer>(entry.value())->weight;
    const auto wide = [](const Tensor& x) { return x.to(torch::kFloat64).flatten(1); };
    const auto product = wide(found->second.up).matmul(wide(found->second.down));
    const auto expected = (kAlpha / static_cast<double>(kRank) * product).view(weight.sizes());
    const auto difference = updates.at(entry.key()).difference(weight).to(torch::kFloat64);
    EXPECT_LT((difference - expected).abs().max().item<double>(), 1e-4) << entry.key();
  }
}

}  // namespace
}  // namespace mos::concepts
