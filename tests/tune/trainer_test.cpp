#include "mos/tune/trainer.h"

#include <gmock/gmock.h>

#include <cmath>
#include <map>

#include "mos/base/error.h"
#include "mos/base/runtime.h"
#include "mos/concepts/concept_file.h"
#include "mos/concepts/concept_writer.h"
#include "mos/train/adamw.h"
#include "mos/tune/plan.h"
#include "mos/tune/tune.h"
#include "tests/tune/tiny_model.h"

namespace {

using enum mos::checkpoint::Part;

using mos::concepts::ConceptDelta;
using mos::tune::TuneHooks;
using mos::tune::TuneOptions;
using mos::tune::WordRows;
using mos::tune::testing::tiny_dataset;
using mos::tune::testing::tiny_model;
using mos::tune::testing::tiny_options;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

void expect_same_updates(const ConceptDelta& a, const ConceptDelta& b) {
  ASSERT_EQ(a.words.size(), b.words.size());
  for (std::size_t i = 0; i < a.words.size(); ++i) {
    EXPECT_TRUE(a.words[i].rows.first().equal(b.words[i].rows.first())) << a.words[i].word;
  }
  for (const auto part : mos::checkpoint::kTunedParts) {
    ASSERT_EQ(a.of(part).size(), b.of(part).size());
    for (const auto& [layer, update] : a.of(part)) {
      const auto &pair = update.low_rank(), &other = b.of(part).at(layer).low_rank();
      EXPECT_TRUE(pair.down.equal(other.down)) << layer;
      EXPECT_TRUE(pair.up.equal(other.up)) << layer;
    }
  }
}

class Tuning : public ::testing::Test {
 protected:
  ConceptDelta tune(const TuneHooks& hooks = {}) {
    return mos::tune::tune_concept(base_, dataset_, options_, hooks);
  }

  /// A run that is cancelled at `step` goes on to `whole`.
  void expect_to_go_on_from(std::int64_t step, const ConceptDelta& whole) {
    mos::CancelToken cancel;
    TuneHooks hooks{.cancel = &cancel, .checkpoint = folder_ / "run.checkpoint"};
    hooks.progress = [&](const mos::Progress& progress) {
      if (progress.step == step) cancel.cancel();
    };
    EXPECT_THROW(tune(hooks), mos::Error);
    EXPECT_TRUE(std::filesystem::exists(hooks.checkpoint));
    expect_same_updates(tune({.checkpoint = hooks.checkpoint}), whole);
    std::filesystem::remove(hooks.checkpoint);
  }

  std::string refusal() {
    try {
      tune();
    } catch (const mos::Error& error) {
      return error.what();
    }
    return "";
  }

  mos::diffusion::Model base_ = tiny_model();
  mos::tune::ConceptDataset dataset_ = tiny_dataset();
  TuneOptions options_ = tiny_options();
  mos::TempDir folder_;
};

TEST_F(Tuning, SameSeedGivesTheSameConceptAndAnotherSeedAnother) {
  const auto first = tune();
  expect_same_updates(first, tune());
  options_.run.seed = 1;
  EXPECT_FALSE(first.words[0].rows.first().equal(tune().words[0].rows.first()));
}

TEST_F(Tuning, SharesOfABatchLearnTheSameWithAnyNumberOfThreads) {
  options_.optimiser.batch = 5;
  options_.optimiser.micro_batch = 2;
  options_.loss.attention_weight = 0.5;
  const auto complete = mos::tune::complete_options(options_, dataset_);
  const auto learn = [&](std::int64_t threads) {
    const mos::ScopedThreads scope(threads);
    mos::tune::Trainer trainer(base_, dataset_, complete);
    for (int step = 0; step < 3; ++step) trainer.step();
    return trainer.attached().snapshot();
  };
  const auto one = learn(1);
  expect_same_updates(one, learn(2));
  expect_same_updates(one, learn(3));
}

TEST_F(Tuning, SharesOfABatchHaveTheGradientOfTheWhole) {
  options_.optimiser.batch = 3;
  options_.loss.attention_weight = 0.5;  // its maps are normalised over all shares
  const auto complete = mos::tune::complete_options(options_, dataset_);
  auto shared = complete;
  shared.optimiser.micro_batch = 1;
  mos::tune::Trainer one(base_, dataset_, complete);
  const double loss = one.step();
  const auto whole = one.attached().snapshot();
  mos::tune::Trainer three(base_, dataset_, shared);
  EXPECT_NEAR(three.step(), loss, 1e-5);
  // Adam moves every number by about its rate, 1e-2, in the direction of the gradient.
  const auto parts = three.attached().snapshot();
  EXPECT_TRUE(torch::allclose(parts.words[0].rows.first(), whole.words[0].rows.first(), 0, 1e-4));
}

TEST_F(Tuning, LeavesTheBaseModelAsItWas) {
  const auto before = mos::diffusion::model_hash(base_);
  const auto names = base_.unet->named_parameters().size();
  tune();
  EXPECT_EQ(mos::diffusion::model_hash(base_), before);
  EXPECT_EQ(base_.unet->named_parameters().size(), names);
  EXPECT_FALSE(base_.towers[0].encoder->concept_rows().defined());
}

TEST_F(Tuning, RowsAndLoraOfBothNetworksMove) {
  const auto delta = tune();
  const auto layers = base_.unet->cross_attention_count();
  ASSERT_EQ(delta.words.size(), 2U);
  EXPECT_EQ(delta.words[0].rows.first().size(0), layers);
  EXPECT_FALSE(
      delta.words[1].rows.first()[0].equal(delta.words[1].rows.first()[1]));  // layers differ
  for (const auto& [part, pairs] : delta.updates) {
    double moved = 0;
    for (const auto& [layer, update] : pairs) {
      moved += update.low_rank().up.abs().sum().item<double>();
    }
    EXPECT_GT(moved, 0);
  }
  EXPECT_EQ(delta.metadata.at("class_word"), "man");
  EXPECT_EQ(delta.metadata.at("base_model"), mos::diffusion::model_hash(base_));
}

TEST_F(Tuning, AnotherPredictionTypeIsAnotherRunOfTheSameBase) {
  options_.optimiser.steps = 3;
  mos::CancelToken cancel;
  TuneHooks hooks{.cancel = &cancel, .checkpoint = folder_ / "run.checkpoint"};
  hooks.progress = [&](const mos::Progress&) { cancel.cancel(); };
  EXPECT_THROW(tune(hooks), mos::Error);

  base_.settings.scheduler_config["prediction_type"] = "v_prediction";
  try {
    tune({.checkpoint = folder_ / "run.checkpoint"});
    FAIL() << "went on with the other prediction";
  } catch (const mos::Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("scheduler"));
    EXPECT_THAT(error.what(), HasSubstr("\"v_prediction\""));
  }
  // What a concept says of its base is what sample and fuse compare: the weights alone.
  EXPECT_EQ(tune().metadata.at("base_model"), mos::diffusion::model_hash(base_));
}

TEST_F(Tuning, ResumedRunEqualsAnUninterruptedOne) {
  options_.optimiser.steps = 6;
  options_.optimiser.accumulate = 2;
  const auto whole = tune();
  for (const std::int64_t step : {1, 4}) expect_to_go_on_from(step, whole);
}

TEST_F(Tuning, ResumedRunKeepsFrozenRowsFrozen) {
  options_.optimiser.norm_threshold = 0.01;  // reached by the first step
  options_.optimiser.steps = 4;
  const auto whole = tune();
  options_.run.checkpoint_every = 2;
  expect_to_go_on_from(2, whole);
}

TEST_F(Tuning, CancellingSavesAndSaysSo) {
  mos::CancelToken cancel;
  cancel.cancel();
  const TuneHooks hooks{.cancel = &cancel, .checkpoint = folder_ / "run.checkpoint"};
  try {
    tune(hooks);
    FAIL();
  } catch (const mos::Error& error) {
    EXPECT_EQ(error.kind(), mos::ErrorKind::kCancelled);
    EXPECT_THAT(error.what(), HasSubstr("run.checkpoint"));
  }
  EXPECT_TRUE(std::filesystem::exists(hooks.checkpoint));
}

TEST_F(Tuning, RowsFreezeWhenTheirNormReachesTheThreshold) {
  const auto complete = mos::tune::complete_options(options_, dataset_);
  auto freezing = complete;
  {
    mos::tune::Trainer probe(base_, dataset_, complete);
    probe.step();
    freezing.optimiser.norm_threshold =
        mos::tune::mean_norm(probe.attached().group("words")).item<double>() - 1e-6;
  }

  mos::tune::Trainer trainer(base_, dataset_, freezing);
  trainer.step();
  EXPECT_TRUE(trainer.state().frozen.contains("words"));
  const auto rows = trainer.attached().snapshot().words[0].rows.first();
  const auto pairs = trainer.attached().snapshot().of(kUNet);
  trainer.step();
  EXPECT_TRUE(trainer.attached().snapshot().words[0].rows.first().equal(rows));
  EXPECT_FALSE(trainer.attached().snapshot().of(kUNet).begin()->second.low_rank().up.equal(
      pairs.begin()->second.low_rank().up));
}

TEST_F(Tuning, PlainLoraHasOneRowForEachWord) {
  options_.words.rows = WordRows::kShared;
  const auto delta = tune();
  EXPECT_EQ(delta.words[0].rows.first().size(0), 1);
  EXPECT_FALSE(delta.of(kUNet).empty());
}

TEST_F(Tuning, PlainLoraNeedsNoWords) {
  options_.words.rows = WordRows::kShared;
  dataset_.words.clear();
  const auto delta = tune();
  EXPECT_TRUE(delta.words.empty());
  EXPECT_FALSE(delta.of(kUNet).empty());
}

TEST_F(Tuning, RankZeroTunesTheWordsAlone) {
  options_.weights.rank = 0;
  const auto delta = tune();
  EXPECT_TRUE(delta.layer_count() == 0);
  EXPECT_FALSE(delta.words[0].rows.first()[0].equal(delta.words[0].rows.first()[1]));
}

TEST_F(Tuning, FixedTextIsTheSameTextThatWouldBeEncoded) {
  options_.optimiser.embedding_rate = 0;
  options_.optimiser.text_rate = 0;
  const auto cached = tune();
  options_.optimiser.text_rate = 1e-30;  // encoded at every step, but not moved
  const auto encoded = tune();
  for (const auto& [layer, update] : cached.of(kUNet)) {
    EXPECT_TRUE(torch::allclose(update.low_rank().up, encoded.of(kUNet).at(layer).low_rank().up,
                                1e-3, 1e-6))
        << layer;
  }
}

TEST_F(Tuning, SamplePicturesAppearForEveryPrompt) {
  options_.run.preview_pictures = 1;
  options_.run.preview_steps = 2;
  options_.run.preview_every = 2;
  options_.run.preview_prompts = {"a <TOK>", "<TOK>"};
  tune({.preview_folder = folder_ / "previews"});
  for (const char* name :
       {"step-000002-1.png", "step-000002-2.png", "step-000004-1.png", "step-000004-2.png"}) {
    EXPECT_TRUE(std::filesystem::exists(folder_ / "previews" / name)) << name;
  }
}

TEST_F(Tuning, SavedConceptComesBack) {
  const auto delta = tune();
  mos::concepts::save_concept(folder_ / "fox.safetensors", delta);
  expect_same_updates(mos::concepts::load_concept(folder_ / "fox.safetensors"), delta);
}

TEST_F(Tuning, AnInpaintingModelIsRefusedByName) {
  auto settings = base_.settings;
  settings.configs[kUNet]["in_channels"] = 9;
  base_ = mos::diffusion::Model::create(base_.tokenizer(), settings);
  EXPECT_THAT(refusal(), AllOf(HasSubstr("reads 9 channels"), HasSubstr("the plain model")));
}

TEST_F(Tuning, CaptionWithoutTheConceptIsRefusedByName) {
  dataset_.pictures[1].caption.text = "a bear";
  EXPECT_THAT(refusal(), HasSubstr("captions of 1 lack"));
}

TEST_F(Tuning, CaptionThatCutsOffTheConceptIsRefusedByName) {
  dataset_.pictures[1].caption = {"a very long text before the <TOK>", true, {}};
  EXPECT_THAT(refusal(), AllOf(HasSubstr("captions of 1"), HasSubstr("24 tokens")));
}

TEST_F(Tuning, WordsSplitAtBlanksAndCommasWhereverTheyStand) {
  for (const std::vector<std::string>& words : {std::vector<std::string>{"<a1> <a2>"},
                                                {"<a1>,<a2>"},
                                                {" <a1> ,", "<a2>\n"},
                                                {"<a1>+<a2>"}}) {
    options_.words.words = words;
    options_.words.initializers = {words[0].find('+') == std::string::npos ? "<rand-0.01> man"
                                                                           : "<rand-0.01>+man"};
    const auto complete = mos::tune::complete_options(options_, dataset_);
    EXPECT_THAT(complete.words.words, ElementsAre("<a1>", "<a2>"));
    EXPECT_THAT(complete.words.initializers, ElementsAre("<rand-0.01>", "man"));
  }
  options_.words.words = {"<a1> <a1>"};
  EXPECT_THAT(refusal(), HasSubstr("<a1> is given twice"));
  for (const auto* word : {"<TOK>", "<a<TOK>>"}) {
    options_.words.words = {word, "b"};
    EXPECT_THAT(refusal(), HasSubstr("<TOK> stands for the concept")) << word;
  }
}

TEST_F(Tuning, ConceptWithoutWordsIsCalledAsItsFolderWas) {
  options_.words.rows = WordRows::kNone;
  dataset_.words.clear();
  dataset_.class_word.clear();
  dataset_.phrase = "s b";
  EXPECT_EQ(mos::tune::complete_options(options_, dataset_).words.class_word, "s b");
  dataset_.phrase.clear();
  EXPECT_THAT(refusal(), HasSubstr("class word"));
}

TEST_F(Tuning, PicturesComeAsOftenInARoundAsTheyRepeat) {
  dataset_.pictures[1].repeats = 3;
  dataset_.pictures[0].caption = {"<TOK> a", true, {}};
  dataset_.pictures[1].caption = {"<TOK> b", true, {}};
  dataset_.pictures[2].caption = {"<TOK> c", true, {}};
  const auto complete = mos::tune::complete_options(options_, dataset_);
  mos::tune::Trainer trainer(base_, dataset_, complete);
  std::map<char, int> seen;
  for (std::int64_t batch = 0; batch < 10; ++batch) {  // four rounds of five
    for (const auto& prompt : trainer.draw_batch(batch).prompts) ++seen[prompt.back()];
  }
  EXPECT_THAT(seen, ElementsAre(Pair('a', 4), Pair('b', 12), Pair('c', 4)));
}

/// Those of the first batches, int64 [batches, batch].
torch::Tensor timesteps_of(mos::tune::Trainer& trainer, std::int64_t batches) {
  std::vector<torch::Tensor> drawn;
  for (std::int64_t i = 0; i < batches; ++i) drawn.push_back(trainer.draw_batch(i).timesteps);
  return torch::stack(drawn);
}

TEST_F(Tuning, StratifiedTimestepsAreOneOfEachPartInEveryBatchAndUniformInAll) {
  constexpr std::int64_t kBatch = 4, kBatches = 500, kPart = 1000 / kBatch;
  options_.optimiser.batch = kBatch;
  options_.loss.timesteps = mos::tune::Timesteps::kStratified;
  mos::tune::Trainer trainer(base_, dataset_, mos::tune::complete_options(options_, dataset_));
  const auto drawn = timesteps_of(trainer, kBatches);
  const auto parts = drawn.div(kPart, "floor");
  EXPECT_TRUE(std::get<0>(parts.sort(1)).equal(torch::arange(kBatch).expand({kBatches, kBatch})));
  // No part is tied to a place in the batch: 0.2 is four standard deviations of a place's mean.
  const auto of_places = parts.to(torch::kFloat64).mean(0);
  EXPECT_LT((of_places - 1.5).abs().max().item<double>(), 0.2);
  // Each of twenty intervals gets 100 draws, with a deviation of 9.
  const auto often = torch::bincount(drawn.div(50, "floor").flatten(), {}, 20);
  EXPECT_EQ(often.size(0), 20);
  EXPECT_LT((often - kBatch * kBatches / 20).abs().max().item<std::int64_t>(), 40);
}

TEST_F(Tuning, StratifiedTimestepsAreOfTheConceptsAndOfTheClassPicturesApart) {
  options_.optimiser.batch = 2;
  options_.loss.timesteps = mos::tune::Timesteps::kStratified;
  options_.prior.pictures = 3;
  for (const auto& picture : dataset_.pictures) dataset_.prior.push_back(picture);
  for (auto& picture : dataset_.prior) picture.caption = {"a man", false, {}};
  mos::tune::Trainer trainer(base_, dataset_, mos::tune::complete_options(options_, dataset_));
  const auto high = timesteps_of(trainer, 8).ge(500);
  EXPECT_TRUE(high.narrow(1, 0, 2).sum(1).eq(1).all().item<bool>());
  EXPECT_TRUE(high.narrow(1, 2, 2).sum(1).eq(1).all().item<bool>());
}

TEST_F(Tuning, TimestepsAreDrawnLastSoStratifyingThemChangesNothingElse) {
  const auto complete = mos::tune::complete_options(options_, dataset_);
  auto stratified = complete;
  stratified.loss.timesteps = mos::tune::Timesteps::kStratified;
  mos::tune::Trainer one(base_, dataset_, complete), other(base_, dataset_, stratified);
  for (std::int64_t i = 0; i < 3; ++i) {
    const auto a = one.draw_batch(i), b = other.draw_batch(i);
    EXPECT_TRUE(a.latents.equal(b.latents));
    EXPECT_TRUE(a.noise.equal(b.noise));
    EXPECT_EQ(a.prompts, b.prompts);
    EXPECT_FALSE(a.timesteps.equal(b.timesteps));
  }
}

TEST_F(Tuning, ResumedRunDrawsTheStratifiedTimestepsOfAnUninterruptedOne) {
  options_.loss.timesteps = mos::tune::Timesteps::kStratified;
  options_.optimiser.steps = 4;
  options_.optimiser.accumulate = 2;
  const auto whole = tune();
  expect_to_go_on_from(2, whole);
}

TEST_F(Tuning, PictureThinnerThanOneLatentPositionIsRefusedByName) {
  dataset_.pictures[2].pixels = torch::zeros({16, 300, 3}, torch::kUInt8);
  EXPECT_THAT(refusal(), AllOf(HasSubstr("2 (300x16 becomes 2 thin)"), HasSubstr("crop")));
  dataset_.pictures[2].pixels = torch::zeros({40, 300, 3}, torch::kUInt8);
  EXPECT_EQ(refusal(), "");
}

TEST_F(Tuning, InitializerOfSeveralTokensIsRefused) {
  options_.words.initializers = {"<rand-0.01>", "bear"};
  EXPECT_THAT(refusal(), HasSubstr("\"bear\""));
}

TEST_F(Tuning, ImpossibleOptionsAreNamed) {
  options_.optimiser.batch = 0;
  EXPECT_THAT(refusal(), HasSubstr("\"batch\""));
  options_ = tiny_options();
  options_.pictures.size = 30;
  EXPECT_THAT(refusal(), HasSubstr("\"size\""));
  options_ = tiny_options();
  options_.pictures.scale_min = 0.9;
  options_.pictures.scale_max = 0.8;
  EXPECT_THAT(refusal(), HasSubstr("\"scale_min\""));
  options_ = tiny_options();
  const mos::Json rows = {{"rows", "per-layer"}};
  EXPECT_THROW(mos::read_options(rows, "a file", options_), mos::Error);
}

TEST(TuneOptionsOfABase, GoUnderWhatTheUserAsksFor) {
  const mos::TempDir base;  // need not have any
  EXPECT_EQ(mos::tune::method_options("", base.path()).optimiser.steps,
            TuneOptions().optimiser.steps);
  mos::write_text_file(base / "tune_defaults.json", R"({"steps": 300, "random_sigma": 0.035})");
  const auto options = mos::tune::method_options("", base.path());
  EXPECT_EQ(options.optimiser.steps, 300);
  const auto complete = mos::tune::complete_options(options, tiny_dataset());
  EXPECT_THAT(complete.words.initializers, ::testing::ElementsAre("<rand-0.035>", "man"));
}

TEST(AdamW, MatchesTheFormulaOfTwoSteps) {
  auto value = torch::tensor({1.0F, -2.0F}).requires_grad_(true);
  mos::train::AdamW optimiser({{{{"x", value}}, 0.1}}, {.weight_decay = 0.01});
  double x = 1.0, m = 0, v = 0;
  for (int t = 1; t <= 2; ++t) {
    const double g = 3.0 * t;
    value.mutable_grad() = torch::tensor({static_cast<float>(g), 0.0F});
    optimiser.step(t == 1 ? 1.0 : 0.5);
    const double rate = t == 1 ? 0.1 : 0.05;
    x *= 1 - rate * 0.01;
    m = 0.9 * m + 0.1 * g;
    v = 0.999 * v + 0.001 * g * g;
    x -= rate * (m / (1 - std::pow(0.9, t))) / (std::sqrt(v / (1 - std::pow(0.999, t))) + 1e-8);
    EXPECT_NEAR(value[0].item<double>(), x, 1e-6);
  }
}

}  // namespace
