#include "mos/concepts/tokens.h"

#include <gmock/gmock.h>

#include "mos/base/error.h"
#include "tests/support/tiny_model.h"

namespace {

using mos::concepts::ConceptTokens;
using mos::concepts::ConceptWord;

class Words : public testing::Test {
 protected:
  ConceptTokens add(const ConceptWord& word) {
    ConceptTokens tokens(model_.unet->cross_attention_count());
    tokens.add(std::array{word}, model_.towers);
    return tokens;
  }
  torch::Tensor rows(std::int64_t count) { return mos::randn({count, 16}, generator_); }

  mos::diffusion::Model model_ = mos::tiny::model();
  at::Generator generator_ = mos::seeded_generator(2);
};

/// The text with every token as its number among the concept's tokens in brackets.
std::string shown(const mos::text::PiecedText& text, const ConceptTokens& tokens) {
  std::string result;
  for (const auto& [words, token] : text) {
    result += token ? "[" + std::to_string(*token - tokens.words().front().first_id) + "]" : words;
  }
  return result;
}

TEST_F(Words, AnEmbeddingOfSeveralVectorsIsSeveralTokens) {
  const auto tokens = add({"toy", rows(3), 3});
  const auto bound = tokens.bind("a toy at toyland");
  ASSERT_EQ(bound.size(), 1U);
  EXPECT_EQ(shown(bound[0], tokens), "a [0][1][2] at toyland");
  const auto again = ConceptTokens::from_json(tokens.to_json(), tokens.layers());
  EXPECT_EQ(again.bind("toy"), tokens.bind("toy"));
}

TEST_F(Words, RowsOfLayersComeInTheOrderOfTheLayers) {
  const auto layers = model_.unet->cross_attention_count();
  const auto tokens = add({"toy", rows(2 * layers), 2});
  const auto bound = tokens.bind("toy");
  ASSERT_EQ(static_cast<std::int64_t>(bound.size()), layers);
  EXPECT_EQ(shown(bound[0], tokens), "[0][1]");
  EXPECT_EQ(shown(bound[1], tokens), "[2][3]");
  const auto again = ConceptTokens::from_json(tokens.to_json(), layers);
  EXPECT_EQ(again.bind("toy"), bound);
}

TEST_F(Words, AWordMayBeCalledWhatATokenIsCalledElsewhere) {
  const auto layers = model_.unet->cross_attention_count();
  const std::array words = {ConceptWord{"<new1>", rows(layers)},
                            ConceptWord{"<new2>", rows(layers)}};
  ConceptTokens tokens(layers);
  tokens.add(words, model_.towers);
  const auto bound = tokens.bind("a <new1> <new2>");
  const auto second = "[" + std::to_string(layers) + "]";
  EXPECT_EQ(shown(bound[0], tokens), "a [0] " + second);
  // In files, where tokens need names, those of words are left to the words.
  for (const auto& word : tokens.words()) {
    EXPECT_THAT(word.token_names, testing::Each(testing::Not(testing::AnyOf("<new1>", "<new2>"))));
  }
}

TEST_F(Words, ThatComeLaterLeaveTheNamesOfThoseBeforeThemAlone) {
  ConceptTokens tokens(model_.unet->cross_attention_count());
  const std::array former = {ConceptWord{"<new1>", rows(1)}, ConceptWord{"<new3>", rows(1)}};
  tokens.add(former, model_.towers);
  // Several at once: each makes the list of all words grow.
  std::vector<ConceptWord> more;
  for (const char* word : {"cat", "ox", "hen", "ram", "yak"}) more.push_back({word, rows(1)});
  tokens.add(more, model_.towers);
  std::vector<std::string> names;
  for (const auto& word : tokens.words()) names.push_back(word.token_names.front());
  EXPECT_THAT(names, testing::ElementsAre("<new0>", "<new2>", "<new4>", "<new5>", "<new6>",
                                          "<new7>", "<new8>"));
}

TEST_F(Words, NoTextCanNameATokenOfAWord) {
  const auto tokens = add({"toy", rows(1)});
  const auto& name = tokens.words().front().token_names.front();
  const auto id = tokens.words().front().first_id;
  EXPECT_FALSE(model_.tokenizer().token_id(name));
  EXPECT_THAT(model_.tokenizer().encode(name), testing::Not(testing::Contains(id)));
  EXPECT_THAT(model_.tokenizer().encode(tokens.bind("toy")[0]), testing::Contains(id));
  // The same after the model was a folder, whose files do name it.
  const mos::TempDir folder;
  model_.tokenizer().save(folder.path());
  model_.towers[0].tokenizer = mos::text::CLIPTokenizer::from_directory(folder.path());
  EXPECT_EQ(model_.tokenizer().token_id(name), id);
  model_.concepts = tokens.to_json();
  const auto known = mos::concepts::known_words(model_);
  EXPECT_THAT(model_.tokenizer().encode(name), testing::Not(testing::Contains(id)));
  EXPECT_THAT(model_.tokenizer().encode(known.bind("toy")[0]), testing::Contains(id));
}

TEST_F(Words, AnAuthorsNameWorksWhereItMeansOneThing) {
  ConceptTokens tokens(model_.unet->cross_attention_count());
  const ConceptWord first{"cat", rows(1), 1, "temp"}, second{"ox", rows(1), 1, "temp"};
  tokens.add(std::array{first}, model_.towers);
  EXPECT_TRUE(tokens.knows("temp"));
  EXPECT_EQ(tokens.bind("a temp"), tokens.bind("a cat"));
  tokens.add(std::array{second}, model_.towers);
  EXPECT_FALSE(tokens.knows("temp"));
  EXPECT_TRUE(tokens.knows("cat") && tokens.knows("ox"));
}

TEST_F(Words, RowsForAnotherNumberOfLayersAreRefused) {
  const auto layers = model_.unet->cross_attention_count();
  EXPECT_THROW(add({"toy", rows(layers + 1), 1}), mos::Error);
  EXPECT_THROW(add({"toy", rows(2 * layers + 1), 2}), mos::Error);
}

TEST_F(Words, HaveRowsInEveryTextEncoder) {
  std::vector<mos::diffusion::TextTower> towers = {model_.towers.front(),
                                                   mos::tiny::model(7).towers.front()};
  towers[1].part = mos::checkpoint::Part::kVae;  // some other one
  ConceptTokens tokens(model_.unet->text_slices().count);
  ConceptWord word{"toy", rows(1)};
  EXPECT_THROW(tokens.add(std::array{word}, towers), mos::Error);  // none for the second one
  const auto second = rows(1);
  word.rows.set(towers[1].part, second);
  tokens.add(std::array{word}, towers);
  EXPECT_TRUE(towers[1].encoder->concept_rows().equal(second));
  EXPECT_EQ(towers[0].tokenizer.vocab_size(), towers[1].tokenizer.vocab_size());

  const torch::NoGradGuard no_grad;
  const std::array prompts = {std::string("a toy")};
  const auto text = mos::concepts::encode_prompts(tokens, towers, prompts);
  EXPECT_EQ(text.context.size(2), 32);
  EXPECT_FALSE(text.is_layerwise());
}

}  // namespace
