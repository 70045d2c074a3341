#include "mos/concepts/prompt_encoder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "mos/base/error.h"
#include "tests/support/tiny_model.h"

namespace mos::concepts {
namespace {

using torch::Tensor;

class PromptEncoder : public testing::Test {
 protected:
  std::vector<Tensor> encode(const std::vector<std::string>& prompts, PromptOptions options = {}) {
    const torch::NoGradGuard no_grad;
    std::vector<Tensor> contexts;
    for (auto& text : encode_pairs(tokens_, model_.towers, prompts, options)) {
      contexts.push_back(text.context);
    }
    return contexts;
  }
  Tensor plain(const std::string& prompt) {
    const torch::NoGradGuard no_grad;
    return encode_prompts(tokens_, model_.towers, std::vector<std::string>{prompt, ""})
        .narrow(0, 1)
        .context;
  }

  diffusion::Model model_ = tiny::model();
  ConceptTokens tokens_{model_.unet->cross_attention_count()};
};

TEST_F(PromptEncoder, PlainPromptsAreTheVeryNumbersOfTheEncoder) {
  EXPECT_TRUE(torch::equal(encode({"a cat", ""})[0], plain("a cat")));
  EXPECT_TRUE(torch::equal(encode({"a (cat)", ""}, {.plain_text = true})[0], plain("a (cat)")));
}

TEST_F(PromptEncoder, AWeightScalesItsTokensAndKeepsTheMean) {
  const auto base = plain("a cat sat").to(torch::kFloat64);
  const auto states = encode({"a (cat:1.5) sat", ""})[0].to(torch::kFloat64);
  const auto begin = static_cast<std::int64_t>(model_.tokenizer().encode("a").size()) - 1;
  const auto end = static_cast<std::int64_t>(model_.tokenizer().encode("a cat").size()) - 1;
  auto expected = base.clone();
  expected.slice(1, begin, end).mul_(1.5);
  expected *= base.mean() / expected.mean();
  EXPECT_LT((states - expected).abs().max().item<double>(), 1e-4);
}

TEST_F(PromptEncoder, BreakAndLengthMakeChunksThatBothOfAPairHave) {
  const auto length = model_.tokenizer().model_max_length();
  const auto pair = encode({"a cat BREAK a dog", "bad"});
  EXPECT_EQ(pair[0].size(1), 2 * length);
  EXPECT_EQ(pair[1].size(1), 2 * length);
  EXPECT_LT((pair[0].slice(1, 0, length) - plain("a cat")).abs().max().item<double>(), 1e-5);
  EXPECT_LT((pair[1].slice(1, length) - plain("")).abs().max().item<double>(), 1e-5);

  std::string many = "cat";
  for (std::int64_t i = 0; i < length; ++i) many += " cat";
  EXPECT_GE(chunks_of(tokens_, model_.tokenizer(), many, {}), 2);
  EXPECT_EQ(encode({many, ""}, {.plain_text = true})[0].size(1), length);
}

TEST_F(PromptEncoder, WordsOfAConceptKeepTheirLayersUnderWeights) {
  const auto layers = tokens_.layers(), width = model_.towers[0].width();
  const ConceptWord word{.word = "<toy1>", .rows = torch::randn({layers, width})};
  tokens_.add(std::vector<ConceptWord>{word}, model_.towers);
  const auto pair = encode({"a (<toy1>:1.3) BREAK snow", "bad"});
  ASSERT_EQ(pair[0].dim(), 4);
  EXPECT_EQ(pair[0].size(1), layers);
  EXPECT_EQ(pair[0].size(2), 2 * model_.tokenizer().model_max_length());
  EXPECT_EQ(pair[1].sizes(), pair[0].sizes());
  EXPECT_FALSE(torch::equal(pair[0].select(1, 0), pair[0].select(1, 1)));
  EXPECT_TRUE(torch::equal(pair[1].select(1, 0), pair[1].select(1, 1)));
}

TEST_F(PromptEncoder, ClipSkipTakesAnEarlierLayerWithTheFinalNorm) {
  const auto skipped = encode({"a cat", ""}, {.clip_skip = 2})[0];
  EXPECT_EQ(skipped.sizes(), plain("a cat").sizes());
  EXPECT_GT((skipped - plain("a cat")).abs().max().item<double>(), 1e-3);
  const auto ids = torch::tensor(model_.tokenizer().encode_padded("a cat")).unsqueeze(0);
  const auto layers = model_.towers[0].encoder->config().num_hidden_layers;
  EXPECT_THROW(encode_ids(model_.towers[0], ids, layers + 1), Error);
}

}  // namespace
}  // namespace mos::concepts
