#include <gmock/gmock.h>

#include "mos/concepts/lora.h"
#include "mos/fuse/fuse_concepts.h"
#include "mos/io/state_dict.h"
#include "tests/support/tiny_model.h"

/// Fusion of concepts whose updates are no pairs of factors.
namespace {

using enum mos::checkpoint::Part;

using mos::concepts::Dense;
using mos::concepts::DenseForm;
using mos::concepts::LayerUpdate;
using mos::concepts::LayerUpdates;
using mos::concepts::LoraPart;
using mos::concepts::LowRank;
using mos::diffusion::Model;
using mos::fuse::ConceptSource;
using mos::fuse::FuseOptions;
using torch::Tensor;

/// Makes updates for the attention layers of a network.
using Maker = std::function<LayerUpdate(const mos::nn::LoraLayer&, at::Generator&)>;

LayerUpdates updates_for(torch::nn::Module& network, at::Generator& generator, const Maker& make) {
  LayerUpdates updates;
  mos::nn::for_each_lora_layer(network, [&](const std::string& name, mos::nn::LoraLayer& layer) {
    if (name.find("attn") != std::string::npos) updates[name] = make(layer, generator);
  });
  return updates;
}

ConceptSource source_of(const std::string& name, std::uint64_t seed, const Maker& make) {
  auto model = mos::tiny::model();
  auto generator = mos::seeded_generator(seed);
  ConceptSource source{.name = name, .phrase = name};
  source.delta.updates[kTextEncoder] = updates_for(*model.towers[0].encoder, generator, make);
  source.delta.updates[kUNet] = updates_for(*model.unet, generator, make);
  return source;
}

Tensor small(at::IntArrayRef shape, at::Generator& generator) {
  return 0.3 * mos::randn(shape, generator);
}

LayerUpdate loha(const mos::nn::LoraLayer& layer, at::Generator& generator) {
  const auto out = layer.out_features(), in = layer.in_features();
  return Dense{.form = DenseForm::kHadamard,
               .parts = {{LoraPart::kHadamard1A, small({out, 2}, generator)},
                         {LoraPart::kHadamard1B, small({2, in}, generator)},
                         {LoraPart::kHadamard2A, small({out, 2}, generator)},
                         {LoraPart::kHadamard2B, small({2, in}, generator)}}};
}

LayerUpdate dora(const mos::nn::LoraLayer& layer, at::Generator& generator) {
  const auto out = layer.out_features(), in = layer.in_features();
  return Dense{.form = DenseForm::kProduct,
               .parts = {{LoraPart::kDown, small({2, in}, generator)},
                         {LoraPart::kUp, small({out, 2}, generator)},
                         {LoraPart::kMagnitude, 1.0 + small({out}, generator).abs()}}};
}

LayerUpdate difference(const mos::nn::LoraLayer& layer, at::Generator& generator) {
  Dense update{.parts = {{LoraPart::kDifference, small(layer.weight.sizes(), generator)}}};
  if (layer.bias.defined()) {
    update.parts[LoraPart::kBiasDifference] = small(layer.bias.sizes(), generator);
  }
  return update;
}

LayerUpdate pair(const mos::nn::LoraLayer& layer, at::Generator& generator) {
  return LowRank{.down = small({2, layer.in_features()}, generator),
                 .up = small({layer.out_features(), 2}, generator)};
}

FuseOptions quick(const char* method) {
  FuseOptions options{.method = method};
  options.record.steps = 3;
  return options;
}

std::map<std::string, Tensor> weights_of(const Model& model) {
  std::map<std::string, Tensor> weights;
  for (const auto& [key, value] : mos::io::state_dict_of(*model.towers[0].encoder)) {
    weights["text_encoder/" + key] = value.clone();
  }
  for (const auto& [key, value] : mos::io::state_dict_of(*model.unet)) {
    weights["unet/" + key] = value.clone();
  }
  return weights;
}

void expect_close(const std::map<std::string, Tensor>& actual,
                  const std::map<std::string, Tensor>& expected, double tolerance) {
  for (const auto& [key, value] : expected) {
    EXPECT_TRUE(torch::allclose(actual.at(key), value, 0.0, tolerance)) << key;
  }
}

TEST(Forms, WeightFusionAveragesEveryFormAndBiases) {
  const auto before = weights_of(mos::tiny::model());
  const std::vector sources = {source_of("cat", 1, loha), source_of("ox", 2, dora),
                               source_of("bee", 3, difference), source_of("ant", 4, pair)};
  auto model = mos::tiny::model();
  mos::fuse::fuse_concepts(model, sources, quick("weight"));
  auto expected = before;
  for (const auto& source : sources) {
    for (const auto& [part, updates] : source.delta.updates) {
      const auto folder = std::string(folder_of(part)) + "/";
      for (const auto& [layer, update] : updates) {
        const auto weight = folder + layer + ".weight", bias = folder + layer + ".bias";
        expected[weight] = expected[weight] + 0.25 * update.difference(before.at(weight));
        const auto change = update.bias_difference();
        if (change.defined()) expected[bias] = expected[bias] + 0.25 * change;
      }
    }
  }
  expect_close(weights_of(model), expected, 1e-5);
}

TEST(Forms, GradientFusionIsThatOfThePairsWhichTheyAre) {
  const std::vector sources = {source_of("cat", 1, loha), source_of("ox", 2, dora)};
  auto model = mos::tiny::model();
  auto pairs = sources;
  const auto base = weights_of(model);
  for (auto& source : pairs) {
    for (auto& [part, updates] : source.delta.updates) {
      const auto folder = std::string(folder_of(part)) + "/";
      for (auto& [layer, update] : updates) {  // identity · ΔW, written out
        const auto change = update.difference(base.at(folder + layer + ".weight"));
        update = LowRank{.down = change.flatten(1), .up = torch::eye(change.size(0))};
      }
    }
  }
  auto of_pairs = mos::tiny::model();
  const auto result = mos::fuse::fuse_concepts(model, sources, quick("gradient"));
  mos::fuse::fuse_concepts(of_pairs, pairs, quick("gradient"));
  expect_close(weights_of(model), weights_of(of_pairs), 1e-4);
  EXPECT_LT(result.report.total().after, result.report.total().before);
}

TEST(Forms, TheResultGivesTheFusedModelsWeightsBitForBit) {
  const std::vector sources = {source_of("cat", 1, difference), source_of("ox", 2, pair)};
  auto fused = mos::tiny::model(), base = mos::tiny::model();
  const auto result = mos::fuse::fuse_concepts(fused, sources, quick("gradient"));
  for (const auto& [layer, update] : result.delta.of(kUNet))
    EXPECT_FALSE(update.is_low_rank()) << layer;
  merge_concept(base, result.delta, 1.0, "the result");
  expect_close(weights_of(base), weights_of(fused), 0.0);
}

TEST(Forms, OrdinaryLorasFuseIntoPairs) {
  auto model = mos::tiny::model();
  const auto result = mos::fuse::fuse_concepts(model, {source_of("cat", 1, pair)}, quick("weight"));
  for (const auto& [layer, update] : result.delta.of(kUNet))
    EXPECT_TRUE(update.is_low_rank()) << layer;
}

}  // namespace
