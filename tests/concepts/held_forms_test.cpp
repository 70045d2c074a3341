#include "mos/concepts/held_forms.h"

#include <gmock/gmock.h>

#include "mos/base/error.h"
#include "tests/support/tiny_model.h"

namespace {

using enum mos::checkpoint::Part;

using mos::concepts::ConceptDelta;
using mos::concepts::Dense;
using mos::concepts::DenseForm;
using mos::concepts::HeldForms;
using mos::concepts::LoraPart;
using mos::concepts::LowRank;
using mos::concepts::reduced_to;
using testing::HasSubstr;
using torch::Tensor;

constexpr const char* kHeldQuery =
    "mid_block.attentions.0.transformer_blocks.0.attn1.to_q";   // 16×16
constexpr const char* kHeldConv = "mid_block.resnets.0.conv1";  // 3×3

class Held : public testing::Test {
 protected:
  Tensor random(at::IntArrayRef shape) { return mos::randn(shape, generator_); }

  Dense loha(std::int64_t out, std::int64_t in) {
    return {.form = DenseForm::kHadamard,
            .parts = {{LoraPart::kHadamard1A, random({out, 2})},
                      {LoraPart::kHadamard1B, random({2, in})},
                      {LoraPart::kHadamard2A, random({out, 2})},
                      {LoraPart::kHadamard2B, random({2, in})}}};
  }
  Dense dora(const Tensor& magnitude) {
    return {.form = DenseForm::kProduct,
            .parts = {{LoraPart::kDown, random({2, 16})},
                      {LoraPart::kUp, random({16, 2})},
                      {LoraPart::kMagnitude, magnitude}}};
  }

  at::Generator generator_ = mos::seeded_generator(9);
};

TEST_F(Held, ALohaBecomesThePairThatItIsIfTheRankIsHighEnough) {
  ConceptDelta delta;
  delta.updates[kUNet][kHeldQuery] = loha(16, 16);
  delta.updates[kUNet][kHeldConv] = loha(16, 16 * 9);
  EXPECT_FALSE(holds(HeldForms::kPairs, delta.updates[kUNet][kHeldQuery]));
  EXPECT_TRUE(holds(HeldForms::kAll, delta.updates[kUNet][kHeldQuery]));
  const auto reduced = reduced_to(HeldForms::kPairs, delta, /*rank=*/4);
  EXPECT_EQ(reduced.layers, 2);
  EXPECT_LT(reduced.relative_error, 1e-6);
  for (const auto& [layer, shape] :
       {std::pair{kHeldQuery, std::vector<std::int64_t>{16, 16}}, {kHeldConv, {16, 16, 3, 3}}}) {
    const auto weight = torch::zeros(shape);
    const auto& pair = reduced.delta.of(kUNet).at(layer);
    EXPECT_EQ(pair.low_rank().down.dim(), weight.dim()) << layer;  // as other programs want it
    EXPECT_TRUE(torch::allclose(pair.difference(weight),
                                delta.of(kUNet).at(layer).difference(weight), 1e-4, 1e-5))
        << layer;
  }
}

TEST_F(Held, OfLowerRankWhatIsLostIsSaid) {
  ConceptDelta delta;
  delta.updates[kUNet][kHeldQuery] = loha(16, 16);
  const auto pair = delta.updates[kTextEncoder]["kept"] =
      LowRank{random({3, 4}), random({4, 3}), 0.5};
  const auto reduced = reduced_to(HeldForms::kPairs, delta, /*rank=*/1);
  const auto weight = torch::zeros({16, 16});
  const auto whole = delta.of(kUNet).at(kHeldQuery).difference(weight);
  const auto rest = reduced.delta.of(kUNet).at(kHeldQuery).difference(weight) - whole;
  EXPECT_NEAR(reduced.relative_error, (rest.norm() / whole.norm()).item<double>(), 1e-5);
  EXPECT_EQ(reduced.worst_layer, kHeldQuery);
  EXPECT_EQ(reduced.layers, 1);
  const auto& kept = reduced.delta.of(kTextEncoder).at("kept").low_rank();
  EXPECT_TRUE(kept.down.is_same(pair.low_rank().down));
  EXPECT_EQ(kept.scale, 0.5);
}

TEST_F(Held, WhatOneLayerOrMoreCostIsASentence) {
  const auto said = [](std::int64_t layers) {
    const mos::concepts::Reduction reduction = {
        .delta = {}, .layers = layers, .relative_error = 0.25, .worst = 0.5, .worst_layer = "a"};
    return mos::concepts::cost_text(reduction, 4);
  };
  EXPECT_THAT(said(1), HasSubstr("1 layer became a pair of rank 4 at most: 25 % of its update is"));
  EXPECT_THAT(said(3), HasSubstr("3 layers became pairs of rank 4 at most: 25 % of their updates"));
}

TEST_F(Held, DoraNeedsTheBaseItIsOn) {
  auto base = mos::tiny::model();
  ConceptDelta delta;
  delta.updates[kUNet][kHeldQuery] = dora(random({1, 16}).abs());
  try {
    reduced_to(HeldForms::kPairs, delta, 16);
    ADD_FAILURE() << "was taken";
  } catch (const mos::Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("--base"));
  }
  const auto reduced = reduced_to(HeldForms::kPairs, delta, 16, &base);
  Tensor weight;
  mos::nn::for_each_lora_layer(*base.unet, [&](const std::string& name, mos::nn::LoraLayer& layer) {
    if (name == kHeldQuery) weight = layer.weight.detach();
  });
  EXPECT_TRUE(torch::allclose(reduced.delta.of(kUNet).at(kHeldQuery).difference(weight),
                              delta.of(kUNet).at(kHeldQuery).difference(weight), 1e-4, 1e-5));
  // PEFT's files hold the norms of outputs, not those of inputs.
  EXPECT_FALSE(holds(HeldForms::kPairsAndDora, delta.updates[kUNet][kHeldQuery]));
  EXPECT_TRUE(holds(HeldForms::kPairsAndDora, dora(random({16}).abs())));
}

TEST_F(Held, AChangeOfBiasesIsRefusedWhereItHasNoPlace) {
  ConceptDelta delta;
  delta.updates[kUNet][kHeldQuery] = Dense{.parts = {{LoraPart::kDifference, random({16, 16})},
                                                     {LoraPart::kBiasDifference, random({16})}}};
  EXPECT_THROW(reduced_to(HeldForms::kPairs, delta, 4), mos::Error);
  const auto reduced = reduced_to(HeldForms::kPairsAndBiases, delta, 16);
  const auto& update = reduced.delta.of(kUNet).at(kHeldQuery);
  EXPECT_EQ(update.rank(), 16);
  EXPECT_TRUE(update.bias_difference().equal(delta.of(kUNet).at(kHeldQuery).bias_difference()));
}

}  // namespace
