#include "mos/concepts/weight_forms.h"

#include <gmock/gmock.h>

#include "mos/base/error.h"
#include "mos/concepts/concept_file.h"
#include "mos/concepts/concept_writer.h"
#include "mos/concepts/describe.h"
#include "mos/concepts/held_forms.h"
#include "mos/concepts/lora.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tiny_model.h"

namespace {

using enum mos::checkpoint::Part;

using mos::concepts::ConceptDelta;
using mos::concepts::ConceptFormat;
using mos::concepts::Dense;
using mos::concepts::DenseForm;
using mos::concepts::HeldForms;
using mos::concepts::LayerUpdate;
using mos::concepts::LoraPart;
using ::testing::HasSubstr;
using torch::Tensor;

constexpr const char* kFormedQuery =
    "mid_block.attentions.0.transformer_blocks.0.attn1.to_q";  // 16×16

Dense spectral(const Tensor& shift) {
  return {.form = DenseForm::kSpectral, .parts = {{LoraPart::kSpectralShift, shift}}};
}
Dense silenced(const std::vector<std::int32_t>& places) {
  return {.form = DenseForm::kSilenced,
          .parts = {{LoraPart::kSilenced, torch::tensor(places, torch::kInt32)}}};
}

Tensor random(at::IntArrayRef shape, std::uint64_t seed) {
  auto generator = mos::seeded_generator(seed);
  return mos::randn(shape, generator);
}

TEST(Spectral, MovesTheSingularValuesAndCutsThemOffAtZero) {
  // Axes are the singular vectors: 3 and 1.
  const auto weight = torch::tensor({{0.0F, 3.0F, 0.0F}, {-1.0F, 0.0F, 0.0F}});
  const LayerUpdate update = spectral(torch::tensor({0.5F, -4.0F}));
  const auto expected = torch::tensor({{0.0F, 3.5F, 0.0F}, {0.0F, 0.0F, 0.0F}});
  EXPECT_TRUE(torch::allclose(update.apply_to(weight), expected, 0, 1e-6));
  // The scale is one on the shifts: 1 − 0.2·4 is above zero.
  const auto less = torch::tensor({{0.0F, 3.1F, 0.0F}, {-0.2F, 0.0F, 0.0F}});
  EXPECT_TRUE(torch::allclose(update.apply_to(weight, 0.2), less, 0, 1e-6));
}

TEST(Spectral, OfAConvolutionIsOneOfOutputsAgainstAllTheRest) {
  const auto weight = random({4, 2, 3, 3}, 1);
  const LayerUpdate update = spectral(torch::full({4}, 0.5F));
  EXPECT_TRUE(update.fits(weight.sizes()));
  EXPECT_FALSE(update.fits({4, 2}));
  const auto after = update.apply_to(weight).flatten(1);
  const auto values = std::get<1>(torch::linalg_svd(after, false));
  const auto before = std::get<1>(torch::linalg_svd(weight.flatten(1), false));
  EXPECT_TRUE(torch::allclose(values, before + 0.5, 1e-4, 1e-4));
}

TEST(Silenced, EntriesBecomeZeroAndAllOthersStay) {
  const auto weight = random({3, 4}, 2);
  const LayerUpdate update = silenced({0, 5, 11});
  auto expected = weight.clone();
  expected[0][0] = 0.0F;
  expected[1][1] = 0.0F;
  expected[2][3] = 0.0F;
  EXPECT_TRUE(update.apply_to(weight).equal(expected));
  EXPECT_FALSE(update.fits({2, 4}));  // place 11 is not in it
}

TEST(Silenced, PlacesThatDoNotRiseFromZeroAreNoUpdate) {
  EXPECT_TRUE(silenced({0, 1}).is_sound());
  EXPECT_FALSE(silenced({1, 1}).is_sound());
  EXPECT_FALSE(silenced({2, 1}).is_sound());
  EXPECT_FALSE(silenced({-1, 1}).is_sound());
}

class WeightForms : public ::testing::Test {
 protected:
  WeightForms() {
    delta_.updates[kUNet][kFormedQuery] = spectral(random({16}, 4));
    delta_.updates[kTextEncoder]["text_model.encoder.layers.0.self_attn.k_proj"] =
        silenced({1, 2, 30});
  }
  ConceptDelta delta_;
  mos::TempDir folder_;
};

TEST_F(WeightForms, ComeBackFromOurFiles) {
  const auto path = folder_ / "fox.safetensors";
  mos::concepts::save_concept(path, delta_);
  const auto read = mos::concepts::load_concept(path);
  const auto& shift = read.of(kUNet).at(kFormedQuery).dense()->parts.at(LoraPart::kSpectralShift);
  EXPECT_TRUE(shift.equal(random({16}, 4)));
  const auto& update = read.of(kTextEncoder).at("text_model.encoder.layers.0.self_attn.k_proj");
  EXPECT_TRUE(update.dense()
                  ->parts.at(LoraPart::kSilenced)
                  .equal(torch::tensor({1, 2, 30}, torch::kInt32)));
  auto base = mos::tiny::model();
  EXPECT_NO_THROW(mos::concepts::merge_concept(base, read, 1.0, "the test"));
}

TEST_F(WeightForms, AreRefusedByFormatsOfOthers) {
  for (const auto format :
       {ConceptFormat::kKohya, ConceptFormat::kPeft, ConceptFormat::kDiffusers}) {
    try {
      write_concept(folder_ / "fox.safetensors", delta_, format);
      ADD_FAILURE();
    } catch (const mos::Error& error) {
      EXPECT_EQ(error.kind(), mos::ErrorKind::kMismatch);
      EXPECT_THAT(error.what(), HasSubstr("the format mos has"));
    }
  }
}

TEST_F(WeightForms, BecomePairsOnTheBaseThatTheyAreOf) {
  EXPECT_TRUE(needs_base(HeldForms::kLycoris, delta_));
  EXPECT_THROW(reduced_to(HeldForms::kLycoris, delta_, 16), mos::Error);
  auto base = mos::tiny::model();
  const auto reduced = reduced_to(HeldForms::kLycoris, delta_, 16, &base);
  EXPECT_LT(reduced.relative_error, 1e-6);
  auto merged = mos::tiny::model(), of_pairs = mos::tiny::model();
  mos::concepts::merge_concept(merged, delta_, 1.0, "the test");
  mos::concepts::merge_concept(of_pairs, reduced.delta, 1.0, "the test");
  const auto a = merged.unet->parameters(), b = of_pairs.unet->parameters();
  for (std::size_t i = 0; i < a.size(); ++i) EXPECT_TRUE(torch::allclose(a[i], b[i], 1e-4, 1e-4));
}

TEST(Silenced, OfTwoConceptsIsTheUnionOfTheirNeurons) {
  auto base = mos::tiny::model();
  const mos::concepts::LayerUpdates fox = {{kFormedQuery, silenced({0, 1})}},
                                    owl = {{kFormedQuery, silenced({1, 2})}};
  const mos::concepts::ScaledLora both[] = {{&fox, 1.0, "fox"}, {&owl, 1.0, "owl"}};
  mos::concepts::merge_loras(*base.unet, both, torch::kFloat32);
  mos::nn::for_each_lora_layer(*base.unet, [&](const std::string& name, auto& layer) {
    if (name != kFormedQuery) return;
    const auto flat = layer.weight.flatten();
    EXPECT_EQ(flat.slice(0, 0, 3).abs().sum().template item<double>(), 0.0);
    EXPECT_NE(flat[3].template item<double>(), 0.0);
  });
}

}  // namespace
