#include "mos/concepts/tokens.h"

#include <gmock/gmock.h>

#include "mos/base/error.h"
#include "tests/support/tiny_model.h"

namespace {

using mos::concepts::ConceptTokens;
using mos::concepts::ConceptWord;
using testing::ElementsAre;

class Words : public testing::Test {
 protected:
  ConceptTokens add(const ConceptWord& word) {
    ConceptTokens tokens(model_.unet->cross_attention_count());
    tokens.add(std::array{word}, model_.tokenizer, model_.text_encoder);
    return tokens;
  }
  torch::Tensor rows(std::int64_t count) { return mos::randn({count, 16}, generator_); }

  mos::diffusion::StableDiffusion model_ = mos::tiny::model();
  at::Generator generator_ = mos::seeded_generator(2);
};

TEST_F(Words, AnEmbeddingOfSeveralVectorsIsSeveralTokens) {
  const auto tokens = add({"toy", rows(3), 3});
  EXPECT_THAT(tokens.bind("a toy at toyland"), ElementsAre("a <new0> <new1> <new2> at toyland"));
  EXPECT_TRUE(tokens.mentions("a toy"));
  EXPECT_FALSE(tokens.mentions("toyland"));
  const auto again = ConceptTokens::from_json(tokens.to_json(), tokens.layers());
  EXPECT_EQ(again.bind("toy"), tokens.bind("toy"));
}

TEST_F(Words, RowsOfLayersComeInTheOrderOfTheLayers) {
  const auto layers = model_.unet->cross_attention_count();
  const auto tokens = add({"toy", rows(2 * layers), 2});
  const auto bound = tokens.bind("toy");
  ASSERT_EQ(static_cast<std::int64_t>(bound.size()), layers);
  EXPECT_EQ(bound[0], "<new0> <new1>");
  EXPECT_EQ(bound[1], "<new2> <new3>");
  const auto again = ConceptTokens::from_json(tokens.to_json(), layers);
  EXPECT_EQ(again.bind("toy"), bound);
}

TEST_F(Words, RowsForAnotherNumberOfLayersAreRefused) {
  const auto layers = model_.unet->cross_attention_count();
  EXPECT_THROW(add({"toy", rows(layers + 1), 1}), mos::Error);
  EXPECT_THROW(add({"toy", rows(2 * layers + 1), 2}), mos::Error);
}

}  // namespace
