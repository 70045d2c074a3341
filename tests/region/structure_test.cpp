#include "mos/region/structure.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <span>

#include "mos/base/error.h"
#include "mos/nn/ops.h"
#include "mos/region/masked_attention.h"
#include "mos/region/sample.h"
#include "tests/support/difference.h"
#include "tests/support/tiny_model.h"

namespace mos::region {
namespace {

using test::difference;
using torch::Tensor;

TEST(NounPhrases, AreRunsOfTwoOrMoreWords) {
  using testing::ElementsAre;
  EXPECT_THAT(noun_phrases("a photo of a red car and a blue house on the hill"),
              ElementsAre("red car", "blue house"));
  EXPECT_THAT(noun_phrases("A (red car:1.2), The very old dog"),
              ElementsAre("red car", "very old dog"));
  EXPECT_THAT(noun_phrases("<wizard1> <wizard2> next to a teddy"),
              ElementsAre("<wizard1> <wizard2>"));
  EXPECT_TRUE(noun_phrases("").empty());
}

class Structured : public testing::Test {
 protected:
  Structured() { tiny::fill_randomly(*cross_, generator_); }

  /// Attention over hidden_ with keys and values of their own texts.
  Tensor attended(const Tensor& keys, const Tensor& values) {
    return nn::attention(cross_->query(hidden_), cross_->key_value(keys).key,
                         cross_->key_value(values).value);
  }
  Tensor processed(StructuredText text) {
    auto scene = std::make_shared<MaskedRegions>();
    scene->structure = std::move(text);
    scene->latent_height = scene->latent_width = 3;
    return MaskedAttention(scene).process(*cross_, hidden_, context_);
  }
  /// The texts with phrase `i`'s rows in the prompt's half.
  Tensor copy_with(std::size_t i) {
    auto copy = context_.clone();
    const auto& [column, tokens, alone] = phrases_[i];
    for (std::int64_t t = 0; t < tokens; ++t) copy[1][column + t] = alone[0][1 + t];
    return copy;
  }

  torch::NoGradGuard no_grad_;
  at::Generator generator_ = seeded_generator(5);
  nn::Attention cross_{nn::AttentionSize{8, 2, 4, 5}};
  Tensor hidden_ = randn({2, 9, 8}, generator_);
  Tensor context_ = randn({2, 10, 5}, generator_);
  std::vector<EncodedPhrase> phrases_ = {{1, 2, randn({1, 10, 5}, generator_)},
                                         {5, 2, randn({1, 10, 5}, generator_)}};
};

TEST_F(Structured, OutputIsTheMeanOverSetsOfValues) {
  const auto expected = (attended(context_, context_) + attended(context_, copy_with(0)) +
                         attended(context_, copy_with(1))) /
                        3.0;
  const auto text = structured_text(context_.slice(0, 1), phrases_, Structure::kValues);
  EXPECT_LT(difference(processed(text), cross_->output(expected)), 1e-5);
}

TEST_F(Structured, ConjunctionIsTheMeanOverKeysWithAllPhrasesAsValues) {
  auto all = copy_with(0);
  for (std::int64_t t = 0; t < 2; ++t) all[1][5 + t] = phrases_[1].alone[0][1 + t];
  const auto expected =
      (attended(context_, all) + attended(copy_with(0), all) + attended(copy_with(1), all)) / 3.0;
  const auto text = structured_text(context_.slice(0, 1), phrases_, Structure::kConjunction);
  EXPECT_LT(difference(processed(text), cross_->output(expected)), 1e-5);
}

TEST(StructuredPictures, EveryFormPaintsAndSaysWhatItCannot) {
  auto model = tiny::model();
  const concepts::ConceptTokens tokens(model.unet->cross_attention_count());
  SampleOptions options;
  options.steps = 2;
  options.guidance_scale = 3.0;
  Scene scene;
  scene.prompt = "a b cat";
  const auto painted = [&](Structure structure) {
    options.sampler.structure = structure;
    return sample_latents(model, tokens, scene, options);
  };
  const auto plain = painted(Structure::kNone);
  EXPECT_GT(difference(painted(Structure::kValues), plain), 1e-4);
  EXPECT_GT(difference(painted(Structure::kConjunction), plain), 1e-4);
  Region region;
  region.prompt = "a c cat";
  scene.regions = {region};
  EXPECT_GT(difference(painted(Structure::kValues), painted(Structure::kNone)), 1e-4);
  EXPECT_THROW(painted(Structure::kConjunction), Error);  // has a region
  scene = {};
  scene.prompt = "cat";
  EXPECT_THROW(painted(Structure::kValues), Error);  // has no phrase
}

}  // namespace
}  // namespace mos::region
