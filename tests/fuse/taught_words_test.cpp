#include "mos/fuse/taught_words.h"

#include <gmock/gmock.h>

#include <algorithm>

#include "mos/concepts/concept_file.h"
#include "mos/concepts/concept_writer.h"
#include "mos/concepts/lora.h"
#include "mos/fuse/course.h"
#include "tests/fuse/brief_distillation.h"

namespace {

using enum mos::checkpoint::Part;

using mos::concepts::ConceptWord;
using mos::diffusion::Model;
using mos::fuse::ConceptSource;
using mos::fuse::FuseOptions;
using mos::tiny::are_same;
using mos::tiny::brief_distillation;
using mos::tiny::fused;
using mos::tiny::pair_of_concepts;
using mos::tiny::random_source;
using torch::Tensor;

FuseOptions teaching_words() {
  auto options = brief_distillation();
  options.of_method["teach_words"] = true;
  options.of_method["teach_words_rate"] = 0.05;
  return options;
}

std::vector<ConceptWord> words_of(const std::vector<ConceptSource>& sources) {
  std::vector<ConceptWord> words;
  for (const auto& source : sources) {
    words.insert(words.end(), source.delta.words.begin(), source.delta.words.end());
  }
  return words;
}

TEST(TaughtWords, AreThoseOfTheConceptsThatCount) {
  auto options = teaching_words();
  options.weights = {1.0, 1.0, 0.0};  // one that counts alone has nothing to learn
  auto sources = pair_of_concepts();
  sources.push_back(random_source("fox", 7));
  const auto result = fused(options, sources);
  const auto before = words_of(sources);
  ASSERT_EQ(result.delta.words.size(), 6U);
  for (std::size_t i = 0; i < 6; ++i) {
    const auto& word = result.delta.words[i];
    EXPECT_EQ(torch::equal(word.rows.first(), before[i].rows.first()), i >= 4) << word.word;
  }
  const auto& changes = result.report.word_changes;
  ASSERT_EQ(changes.size(), 4U);
  const auto expected = (result.delta.words[0].rows.first() - before[0].rows.first()).norm() /
                        before[0].rows.first().norm();
  EXPECT_NEAR(changes.at("<cat1>"), expected.item<double>(), 1e-6);
  EXPECT_GT(changes.at("<cat2>"), 0.0);
  const auto report = result.report.to_json();
  EXPECT_EQ(report["distillation"]["words"]["<cat2>"]["relative_change"], changes.at("<cat2>"));
}

TEST(TaughtWords, WithoutTheOptionNoneChanges) {
  const auto result = fused(brief_distillation());
  const auto before = words_of(pair_of_concepts());
  for (std::size_t i = 0; i < before.size(); ++i) {
    EXPECT_TRUE(torch::equal(result.delta.words[i].rows.first(), before[i].rows.first()));
  }
  EXPECT_TRUE(result.report.word_changes.empty());
}

TEST(TaughtWords, PlainWordsAndKeptPhrasesHaveNothingToTeach) {
  auto sources = pair_of_concepts();
  for (auto& source : sources) source.delta.words.clear();
  sources[0].phrase = "cat";
  sources[1].phrase = "cat cat";
  auto with = teaching_words(), without = brief_distillation();
  for (auto* options : {&with, &without}) options->of_method["keep"] = {"cat"};
  const auto taught = fused(with, sources);
  EXPECT_TRUE(are_same(taught, fused(without, sources), kUNet));
  EXPECT_TRUE(taught.report.word_changes.empty());
}

TEST(TaughtWords, BringConceptsNearerThanFactorsAlone) {
  EXPECT_LT(fused(teaching_words()).report.distance()->after,
            fused(brief_distillation()).report.distance()->after);
}

TEST(TaughtWords, MendWhatNoFactorCan) {
  // Both text encoders are lost in their merge, and no gradient leads to factors that are all zero.
  auto sources = pair_of_concepts();
  for (auto& source : sources) {
    for (auto& [layer, update] : source.delta.updates[kUNet]) {
      auto pair = update.low_rank();
      pair.down = torch::zeros_like(pair.down);
      pair.up = torch::zeros_like(pair.up);
      update = pair;
    }
  }
  const auto without = fused(brief_distillation(), sources);
  EXPECT_TRUE(without.report.distances.empty());
  const auto with = fused(teaching_words(), sources);
  EXPECT_TRUE(are_same(with, without, kUNet));
  ASSERT_EQ(with.report.distances.size(), 2U);
  for (const auto& distance : with.report.distances) EXPECT_LT(distance.after, distance.before);
}

TEST(TaughtWords, AreTaughtBesideWordsWhoseRowsAllLayersShare) {
  auto sources = pair_of_concepts();
  for (auto& word : sources[1].delta.words) word.rows = word.rows.first().narrow(0, 0, 1).clone();
  const auto result = fused(teaching_words(), sources);
  for (const auto& distance : result.report.distances) EXPECT_LT(distance.after, distance.before);
  EXPECT_GT(result.report.word_changes.at("<owl1>"), 0.0);
  EXPECT_EQ(result.delta.words[2].rows.count(), 1);
}

TEST(TaughtWords, AreTheSameForTheSameInputs) {
  const auto once = fused(teaching_words()), again = fused(teaching_words());
  EXPECT_TRUE(are_same(once, again, kUNet));
  for (std::size_t i = 0; i < once.delta.words.size(); ++i) {
    EXPECT_TRUE(torch::equal(once.delta.words[i].rows.first(), again.delta.words[i].rows.first()));
  }
}

TEST(TaughtWords, LearnTheSameFromABatchInParts) {
  auto options = teaching_words();
  const auto whole = fused(options).report.distances[0];
  options.of_method["distill_micro_batch"] = 3;
  EXPECT_NEAR(fused(options).report.distances[0].after, whole.after, 0.02 * whole.after);
  options.record.dtype = "bfloat16";
  const auto rounded = fused(options).report.distances[0];
  EXPECT_LT(rounded.after, 0.95 * rounded.before);
}

TEST(TaughtWords, StayAsTheyWereWhereTeachingWasNoGain) {
  auto options = teaching_words();
  options.of_method["distill_rate"] = 10.0;
  const auto result = fused(options);
  const auto before = words_of(pair_of_concepts());
  for (std::size_t i = 0; i < before.size(); ++i) {
    EXPECT_TRUE(torch::equal(result.delta.words[i].rows.first(), before[i].rows.first()));
  }
  EXPECT_TRUE(result.report.word_changes.empty());
}

/// What a model with the concepts' words paints.
Tensor painted(const Model& model, const mos::concepts::ConceptTokens& tokens) {
  auto generators = mos::diffusion::picture_generators(3, 1);
  const auto side = model.unet->config().sample_size * model.downscale();
  return mos::fuse::sample_latents(
      model, tokens,
      {.prompt = "<cat1> <cat2> and <owl1> <owl2>",
       .noise = mos::diffusion::initial_noise(generators,
                                              mos::diffusion::latent_shape(model, side, side)),
       .steps = 3},
      {});
}

TEST(TaughtWords, TheModelAndItsLoraPaintTheSame) {
  const mos::TempDir folder;
  auto base = mos::tiny::model();
  base.save(folder / "base");
  const auto result = fuse_concepts(base, pair_of_concepts(), teaching_words());
  ASSERT_FALSE(result.report.word_changes.empty());
  base.save(folder / "fused");
  save_concept(folder / "fused.safetensors", result.delta);

  auto model = Model::load(folder / "fused"), with_lora = Model::load(folder / "base");
  const auto lora = mos::concepts::read_concept_file(folder / "fused.safetensors").delta;
  auto tokens = mos::concepts::known_words(with_lora);
  tokens.add(lora.words, with_lora.towers);
  merge_concept(with_lora, lora, 1.0, "the LoRA");
  const auto expected = painted(model, mos::concepts::known_words(model));
  EXPECT_TRUE(torch::equal(painted(with_lora, tokens), expected));

  auto untaught = Model::load(folder / "base");
  auto former = mos::concepts::known_words(untaught);
  former.add(words_of(pair_of_concepts()), untaught.towers);
  merge_concept(untaught, lora, 1.0, "the LoRA");
  EXPECT_FALSE(torch::equal(painted(untaught, former), expected));
}

/// Two words among the rows of four, in the encoder of the tiny model.
struct Attached {
  Model model = mos::tiny::model();
  mos::concepts::ConceptTokens tokens = mos::concepts::known_words(model);
  Tensor before;

  Attached() {
    tokens.add(words_of(pair_of_concepts()), model.towers);
    before = rows();
  }
  Tensor rows() { return model.towers[0].encoder->concept_rows(); }
};

TEST(TaughtWords, GiveTheirEncodersBackAsTheyWere) {
  Attached attached;
  {
    mos::fuse::TaughtWords words(attached.model, attached.tokens, {"<cat2>", "<owl1>"});
    words.put();
    EXPECT_TRUE(torch::equal(attached.rows(), attached.before));
    EXPECT_TRUE(words.occur_in("a <owl1>"));
    EXPECT_FALSE(words.occur_in("a <cat1>"));
    for (auto& group : words.groups(1.0)) {
      const torch::NoGradGuard no_grad;
      group.parameters[0].value.zero_();
    }
    words.put();
    EXPECT_FALSE(torch::equal(attached.rows(), attached.before));
  }
  EXPECT_TRUE(attached.rows().is_same(attached.before));
}

TEST(TaughtWords, GetTheGradientOfTheirTexts) {
  Attached attached;
  const std::string prompt = "a <cat1> and <owl1>";
  const mos::fuse::DistillInputs inputs{
      .model = attached.model, .tokens = attached.tokens, .lessons = {}, .weights = {}};
  mos::fuse::TaughtWords words(attached.model, attached.tokens, {"<owl1>"});
  mos::fuse::LessonTexts texts(inputs, &words);
  const auto number = texts.add(prompt);
  const auto taught = words.groups(1.0)[0].parameters[0].value;
  auto generator = mos::seeded_generator(4);

  // Two calls with the prompt, of a loss that is linear in what they read.
  const auto one = texts.of(number);
  auto context = torch::cat({one.context, one.context}).requires_grad_(true);
  const auto factors = mos::randn(context.sizes(), generator);
  const auto direction = mos::randn(taught.sizes(), generator);
  {
    const torch::AutoGradMode gradients(true);
    (context * factors).sum().backward();
    texts.pass_back({.text = context, .prompts = {number, number}});
  }
  const auto along = (taught.grad() * direction).sum().item<double>();

  constexpr double kStep = 1e-2;
  const auto loss_at = [&](double step) {
    const torch::NoGradGuard no_grad;
    taught.add_(direction, step);
    texts.forget();
    const auto loss = (texts.of(number).context.to(torch::kFloat64) * factors).sum();
    taught.sub_(direction, step);
    return loss.item<double>();
  };
  const auto difference = (loss_at(kStep) - loss_at(-kStep)) / (2.0 * kStep);
  EXPECT_NEAR(along, difference, 0.01 * std::abs(difference));
}

}  // namespace
