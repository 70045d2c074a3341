#include "mos/fuse/distill.h"

#include <gmock/gmock.h>

#include <algorithm>

#include "mos/base/error.h"
#include "mos/concepts/lora.h"
#include "mos/fuse/fuse_concepts.h"
#include "mos/io/state_dict.h"
#include "mos/train/draws.h"
#include "tests/support/errors.h"
#include "tests/support/tiny_concepts.h"
#include "tests/support/tiny_model.h"

namespace {

using enum mos::checkpoint::Part;

using mos::ErrorKind;
using mos::diffusion::Model;
using mos::fuse::ConceptSource;
using mos::fuse::FuseOptions;
using mos::fuse::FusionResult;
using mos::fuse::Lessons;
using mos::test::message_of;
using mos::tiny::random_source;
using testing::HasSubstr;

/// A few steps, in a type in which nothing is lost.
FuseOptions brief() {
  return {.method = "distill",
          .of_method = {{"distill_steps", 12},
                        {"lessons", 2},
                        {"lesson_steps", 3},
                        {"lesson_prompts", {"photo of a <TOK>", "<TOK> and a dog"}}},
          .record = {.steps = 2, .dtype = "float32"}};
}

const std::vector<ConceptSource>& pair_of_concepts() {
  static const std::vector sources = {random_source("cat", 5), random_source("owl", 6)};
  return sources;
}

FusionResult fused(const FuseOptions& options,
                   const std::vector<ConceptSource>& sources = pair_of_concepts()) {
  auto model = mos::tiny::model();
  return fuse_concepts(model, sources, options);
}

/// Whether all updates of the part are the same to the bit.
bool are_same(const FusionResult& a, const FusionResult& b, mos::checkpoint::Part part) {
  const auto& theirs = b.delta.of(part);
  if (theirs.empty() || a.delta.of(part).size() != theirs.size()) return false;
  return std::ranges::all_of(a.delta.of(part), [&](const auto& entry) {
    const auto own = *entry.second.as_pair(), other = *theirs.at(entry.first).as_pair();
    return torch::equal(own.up, other.up) && torch::equal(own.down, other.down);
  });
}

TEST(Distill, BringsEachConceptNearerToItsOwnModel) {
  const auto result = fused(brief());
  ASSERT_EQ(result.report.distances.size(), 2U);
  for (const auto& distance : result.report.distances) {
    EXPECT_GT(distance.before, 0.0);
    EXPECT_LT(distance.after, 0.9 * distance.before);
  }
}

TEST(Distill, ChangesTheUNetAloneAndKeepsItsRanks) {
  auto options = brief();
  const auto result = fused(options);
  options.method = "gradient";
  options.of_method = mos::Json::object();
  const auto start = fused(options);
  EXPECT_TRUE(are_same(start, result, kTextEncoder));
  EXPECT_FALSE(are_same(start, result, kUNet));
  for (const auto& [layer, update] : start.delta.of(kUNet)) {
    EXPECT_EQ(update.rank(), result.delta.of(kUNet).at(layer).rank()) << layer;
  }
}

TEST(Distill, TheModelIsTheBaseWithTheLora) {
  auto model = mos::tiny::model(), again = mos::tiny::model();
  const auto result = fuse_concepts(model, pair_of_concepts(), brief());
  mos::concepts::merge_concept(again, result.delta, 1.0, "the fused LoRA");
  const auto expected = mos::io::state_dict_of(*again.unet);
  for (const auto& [key, value] : mos::io::state_dict_of(*model.unet)) {
    EXPECT_TRUE(torch::equal(value, expected.at(key))) << key;
  }
}

TEST(Distill, IsTheSameForTheSameInputs) {
  EXPECT_TRUE(are_same(fused(brief()), fused(brief()), kUNet));
}

TEST(Distill, WithoutStepsIsGradientFusion) {
  auto options = brief();
  options.of_method["distill_steps"] = 0;
  const auto result = fused(options);
  EXPECT_TRUE(result.report.distances.empty());
  options.method = "gradient";
  options.of_method = mos::Json::object();
  EXPECT_TRUE(are_same(fused(options), result, kUNet));
}

TEST(Distill, AConceptThatIsAloneHasNothingToLearn) {
  const std::vector one = {random_source("cat", 5)};
  auto options = brief();
  const auto result = fused(options, one);
  options.method = "gradient";
  options.of_method = mos::Json::object();
  EXPECT_TRUE(are_same(fused(options, one), result, kUNet));
}

TEST(Distill, AWorseResultIsNotKept) {
  auto options = brief();
  options.of_method["distill_rate"] = 10.0;  // steps larger than the factors themselves
  const auto result = fused(options);
  for (const auto& distance : result.report.distances) EXPECT_EQ(distance.after, distance.before);
  options.of_method["distill_steps"] = 0;
  EXPECT_TRUE(are_same(fused(options), result, kUNet));
}

TEST(Distill, WeightsSayWhoIsTaughtMost) {
  auto options = brief();
  const auto distance_of_first = [&](const std::vector<double>& weights) {
    options.weights = weights;
    return fused(options).report.distances[0].after;
  };
  EXPECT_LT(distance_of_first({1.0, 0.0}), distance_of_first({1.0, 1.0}));
  EXPECT_LT(distance_of_first({1.0, 1.0}), distance_of_first({0.1, 1.0}));
}

TEST(Distill, NamesWhoPaysForTheOthers) {
  auto options = brief();
  const auto everyone_gains = fused(options).report.to_json();
  EXPECT_EQ(everyone_gains.at("distillation").at("further"), mos::Json::array());
  options.weights = {1.0, 0.1};  // the second one hardly counts
  const auto report = fused(options).report;
  ASSERT_GT(report.distances[1].after, report.distances[1].before);
  ASSERT_EQ(report.further().size(), 1U);
  EXPECT_EQ(report.further().front().concept_number, 1U);
  const auto one_pays = report.to_json();
  EXPECT_EQ(one_pays.at("distillation").at("further"), mos::Json::array({"owl"}));
}

/// Each of these once ended in a crash, or in another model than the one that was trained.
TEST(Distill, APhraseThatIsKeptIsTaughtBesideLayerwiseWords) {
  auto options = brief();
  options.of_method["keep"] = {"cat"};
  const auto distances = fused(options).report.distances;
  ASSERT_EQ(distances.size(), 3U);
  EXPECT_LT(distances[2].after, distances[2].before);
}

TEST(Distill, ALoraWithoutWordsIsTaughtBesideLayerwiseWords) {
  auto sources = pair_of_concepts();
  sources[1].delta.words.clear();
  sources[1].phrase = "cat";
  for (const auto& distance : fused(brief(), sources).report.distances) {
    EXPECT_LT(distance.after, distance.before);
  }
}

TEST(Distill, WordsAloneHaveNothingToLearn) {
  auto sources = pair_of_concepts();
  for (auto& source : sources) source.delta.updates.clear();
  const auto result = fused(brief(), sources);
  EXPECT_TRUE(result.report.distances.empty());
  EXPECT_TRUE(result.delta.of(kUNet).empty());
}

TEST(Distill, BiasesStayAsTheyWereFused) {
  auto sources = pair_of_concepts();
  auto& updates = sources[0].delta.updates[kUNet];
  auto generator = mos::seeded_generator(3);
  auto& [layer, update] = *std::ranges::find_if(
      updates, [](const auto& entry) { return entry.first.ends_with("to_out.0"); });
  const auto bias = mos::randn({update.features()->out}, generator);
  update = with_bias(*update.as_pair(), bias);
  auto model = mos::tiny::model(), again = mos::tiny::model();
  const auto result = fuse_concepts(model, sources, brief());
  const auto& distilled = result.delta.of(kUNet).at(layer);
  EXPECT_TRUE(torch::allclose(distilled.bias_difference(), 0.5 * bias));  // of two concepts
  EXPECT_EQ(distilled.as_pair()->rank(), 4);
  mos::concepts::merge_concept(again, result.delta, 1.0, "the fused LoRA");
  const auto expected = mos::io::state_dict_of(*again.unet);
  for (const auto& [key, value] : mos::io::state_dict_of(*model.unet)) {
    EXPECT_TRUE(torch::equal(value, expected.at(key))) << key;
  }
}

/// Noise of the two lessons of each prompt of brief_distillation(), of one concept.
std::vector<torch::Tensor> lesson_noise(const Model& model, std::size_t concept_number) {
  const auto side = model.unet->config().sample_size * model.downscale();
  const auto shape = mos::diffusion::latent_shape(model, side, side);
  std::vector<torch::Tensor> noise;
  for (std::uint64_t prompt = 0; prompt < 2; ++prompt) {
    const auto first = 4 * concept_number + 2 * prompt;  // no two lessons have the same
    std::vector<at::Generator> generators = {mos::train::generator_for(0, 2, first),
                                             mos::train::generator_for(0, 2, first + 1)};
    noise.push_back(mos::diffusion::initial_noise(generators, shape));
  }
  return noise;
}

TEST(Distill, SaysHowFarTheFusedModelIsFromEachConceptsOwn) {
  // By hand: what both say of the pictures that were held aside.
  const torch::NoGradGuard no_grad;
  auto fused_model = mos::tiny::model();
  const auto& sources = pair_of_concepts();
  const auto result = fuse_concepts(fused_model, sources, brief());
  std::vector<mos::concepts::ConceptWord> words;
  for (const auto& source : sources) {
    words.insert(words.end(), source.delta.words.begin(), source.delta.words.end());
  }
  for (std::size_t c = 0; c < sources.size(); ++c) {
    auto own = mos::tiny::model();
    auto tokens = mos::concepts::known_words(own);
    tokens.add(words, own.towers);
    mos::concepts::merge_concept(own, sources[c].delta, 1.0, "the concept");
    const auto phrase = sources[c].prompt_phrase();
    const auto lessons =
        mos::fuse::collect_lessons(own, tokens,
                                   {.run = {.steps = 3, .guidance_scale = 3.0, .at_once = 8},
                                    .prompts = {"photo of a " + phrase, phrase + " and a dog"},
                                    .noise = lesson_noise(own, c)},
                                   {});
    double sum = 0.0;
    for (std::int64_t i = 0; i < lessons.count(); ++i) {
      if (!lessons.held_aside[i].item<bool>()) continue;
      const auto& prompt =
          lessons.prompts[static_cast<std::size_t>(lessons.prompt[i].item<std::int64_t>())];
      const auto text = encode_prompts(tokens, fused_model.towers, std::span(&prompt, 1));
      const auto says = fused_model.unet->forward(lessons.noisy.slice(0, i, i + 1),
                                                  lessons.timestep.slice(0, i, i + 1), text);
      sum += (says[0] - lessons.said[i]).square().mean().item<double>() / (2 * 3);
    }
    EXPECT_NEAR(result.report.distances[c].after, sum, 1e-3 * sum) << c;
  }
}

TEST(Distill, GoesOnInBfloat16AndInPartsOfABatch) {
  auto options = brief();
  options.of_method["distill_micro_batch"] = 3;
  const auto whole = fused(brief()).report.distances[0], parts = fused(options).report.distances[0];
  EXPECT_NEAR(parts.after, whole.after, 0.02 * whole.after);
  options.record.dtype = "bfloat16";
  const auto rounded = fused(options).report.distances[0];
  EXPECT_LT(rounded.after, 0.95 * rounded.before);
}

TEST(Distill, CanBeCancelledInTheMiddle) {
  auto model = mos::tiny::model();
  mos::CancelToken cancel;
  const auto stop = [&](const mos::Progress& progress) {
    if (progress.stage == "distilling" && progress.step == 3) cancel.cancel();
  };
  EXPECT_THAT(message_of(ErrorKind::kCancelled,
                         [&] { fuse_concepts(model, pair_of_concepts(), brief(), stop, &cancel); }),
              testing::Not(testing::IsEmpty()));
  mos::nn::for_each_lora_layer(*model.unet, [](const std::string& name, auto& layer) {
    EXPECT_FALSE(layer.has_lora()) << name;
    EXPECT_EQ(layer.weight.scalar_type(), torch::kFloat32) << name;
  });
}

TEST(Distill, ALessonPromptHasAPlaceForTheConcept) {
  auto options = brief();
  options.of_method["lesson_prompts"] = {"a dog"};
  EXPECT_THAT(message_of(ErrorKind::kUsage, [&] { fused(options); }), HasSubstr("<TOK>"));
}

TEST(Distill, ALessonPromptIsReadAsAWhole) {
  auto options = brief();
  options.of_method["lesson_prompts"] = {"photo of a dog and a dog and a dog and a <TOK>"};
  EXPECT_THAT(message_of(ErrorKind::kUsage, [&] { fused(options); }), HasSubstr("tokens"));
}

/// Lessons of the tiny model itself.
struct Listened {
  Model model = mos::tiny::model();
  std::vector<torch::Tensor> noise;  ///< By prompt, of three pictures.
  Lessons lessons;
  std::vector<std::int64_t> steps;

  Listened(double guidance, std::int64_t at_once) {
    const torch::NoGradGuard no_grad;
    const auto side = model.unet->config().sample_size * model.downscale();
    for (const std::uint64_t seed : {7U, 17U}) {
      auto generators = mos::diffusion::picture_generators(seed, 3);
      noise.push_back(mos::diffusion::initial_noise(
          generators, mos::diffusion::latent_shape(model, side, side)));
    }
    lessons = mos::fuse::collect_lessons(
        model, mos::concepts::known_words(model),
        {.run = {.steps = 4, .guidance_scale = guidance, .at_once = at_once},
         .prompts = {"a dog", "a cat on the beach"},
         .noise = noise},
        {.after_step = [&](std::int64_t done) { steps.push_back(done); }});
  }
};

TEST(Lessons, AreWhatTheNetworkSaysOfThePrompt) {
  const torch::NoGradGuard no_grad;
  for (const double guidance : {1.0, 4.0}) {
    Listened heard(guidance, 2);
    auto& [model, noise, lessons, steps] = heard;
    ASSERT_EQ(lessons.count(), 2 * 3 * 4);
    for (std::int64_t i = 0; i < lessons.count(); ++i) {
      const auto& prompt =
          lessons.prompts[static_cast<std::size_t>(lessons.prompt[i].item<std::int64_t>())];
      const auto text =
          encode_prompts(mos::concepts::known_words(model), model.towers, std::span(&prompt, 1));
      const auto says = model.unet->forward(lessons.noisy.slice(0, i, i + 1),
                                            lessons.timestep.slice(0, i, i + 1), text);
      EXPECT_TRUE(torch::allclose(says[0], lessons.said[i], 1e-4, 1e-4)) << i;
    }
  }
}

TEST(Lessons, BeginAsTheNoiseOfTheirPrompt) {
  const Listened heard(2.0, 3);
  // The first call of each prompt, which has all of its pictures.
  for (std::int64_t prompt = 0; prompt < 2; ++prompt) {
    const auto first = heard.lessons.noisy.slice(0, 12 * prompt, 12 * prompt + 3);
    const auto& noise = heard.noise[static_cast<std::size_t>(prompt)];
    EXPECT_TRUE(torch::allclose(first, noise, 1e-5, 1e-5));
  }
}

TEST(Lessons, TheLastPictureOfEachPromptIsHeldAside) {
  const Listened heard(2.0, 2);
  const auto& lessons = heard.lessons;
  EXPECT_EQ(lessons.held_aside.sum().item<std::int64_t>(), 2 * 4);
  const Listened together(2.0, 3);
  const auto aside = [](const Lessons& of) {
    return of.noisy.index_select(0, of.held_aside.nonzero().squeeze(1));
  };
  EXPECT_TRUE(torch::allclose(aside(lessons), aside(together.lessons), 1e-4, 1e-4));
  EXPECT_EQ(heard.steps.back(), 2 * 2 * 4);  // both parts of both prompts
}

}  // namespace
