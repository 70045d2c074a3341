#include "mos/diffusion/text_tower.h"

#include <gtest/gtest.h>

#include <array>

#include "tests/support/tiny_model.h"

namespace mos::diffusion {
namespace {

const std::array kTexts = {std::string("a cat"), std::string("cat")};

TEST(TextTower, GivesTheLastNormalisedStatesOrThoseBefore) {
  const torch::NoGradGuard no_grad;
  auto tower = tiny::model().towers.front();
  const auto ids = token_ids(tower.tokenizer, kTexts);
  const auto all = tower.encoder(ids);
  EXPECT_TRUE(tower.encode(ids).context.equal(all.last_hidden_state));
  EXPECT_FALSE(tower.encode(ids).pooled.defined());
  tower.gives = {.skipped_layers = 1, .pooled = true};
  EXPECT_TRUE(tower.encode(ids).context.equal(all.hidden.front()));  // it has two
  EXPECT_TRUE(tower.encode(ids).pooled.equal(all.pooler_output));
}

TEST(TextTower, StatesOfSeveralStandSideBySide) {
  const torch::NoGradGuard no_grad;
  std::vector<TextTower> towers = {tiny::model(1).towers.front(), tiny::model(2).towers.front()};
  towers[1].gives.pooled = true;
  const auto both = encode_texts(towers, kTexts);
  const auto ids = token_ids(towers[0].tokenizer, kTexts);
  EXPECT_TRUE(both.context.slice(2, 0, 16).equal(towers[0].encode(ids).context));
  EXPECT_TRUE(both.context.slice(2, 16).equal(towers[1].encode(ids).context));
  EXPECT_TRUE(both.pooled.equal(towers[1].encode(ids).pooled));
}

TEST(TextTower, TextsAreCutWhereTheEncoderEnds) {
  const auto tower = tiny::model().towers.front();
  const std::array text = {std::string("a b c d e f g h i j k l m n")};
  const auto whole = token_ids(tower.tokenizer, text, Padding::kNone);
  const auto cut = token_ids(tower.tokenizer, text, Padding::kCut);
  EXPECT_EQ(whole.size(1), 16);
  ASSERT_EQ(cut.size(1), tower.tokenizer.model_max_length());
  EXPECT_EQ(cut[0][-1].item<std::int64_t>(), tower.tokenizer.eos_id());
  EXPECT_TRUE(cut.slice(1, 0, -1).equal(whole.slice(1, 0, cut.size(1) - 1)));
}

}  // namespace
}  // namespace mos::diffusion
