#include "mos/fuse/fuse_concepts.h"

#include <gmock/gmock.h>

#include <fstream>

#include "mos/base/error.h"
#include "mos/concepts/concept_file.h"
#include "mos/concepts/concept_writer.h"
#include "mos/concepts/lora.h"
#include "mos/fuse/capture.h"
#include "mos/fuse/sources.h"
#include "mos/io/state_dict.h"
#include "tests/support/errors.h"
#include "tests/support/tiny_concepts.h"
#include "tests/support/tiny_model.h"

namespace {

using enum mos::checkpoint::Part;

namespace fs = std::filesystem;
using mos::ErrorKind;
using mos::concepts::ConceptDelta;
using mos::concepts::LowRank;
using mos::diffusion::Model;
using mos::fuse::ConceptSource;
using mos::fuse::FuseOptions;
using mos::test::message_of;
using mos::tiny::random_source;
using testing::ElementsAre;
using testing::HasSubstr;

/// A LoCon as kohya's trainers write it: every layer of both networks, no words, an alpha.
ConceptSource random_locon(const std::string& name, std::uint64_t seed) {
  auto model = mos::tiny::model();
  auto generator = mos::seeded_generator(seed);
  const auto every_layer = [&](torch::nn::Module& network) {
    mos::concepts::LayerUpdates pairs;
    mos::nn::for_each_lora_layer(
        network, [&](const std::string& layer_name, mos::nn::LoraLayer& layer) {
          auto down = layer.weight.sizes().vec(), up = std::vector<std::int64_t>(down.size(), 1);
          up[0] = down[0];
          up[1] = down[0] = 2;
          pairs[layer_name] = LowRank{.down = 0.1 * mos::randn(down, generator),
                                      .up = 0.1 * mos::randn(up, generator),
                                      .scale = 0.5};
        });
    return pairs;
  };
  ConceptSource source{.name = name};
  source.delta.updates[kTextEncoder] = every_layer(*model.towers[0].encoder);
  source.delta.updates[kUNet] = every_layer(*model.unet);
  source.phrase = name;
  return source;
}

FuseOptions quick(const std::string& method = "gradient") {
  FuseOptions options{.method = method, .record = {.steps = 3}};
  // The tiny model reads twelve tokens: fewer than the usual lessons have.
  if (method == "distill") options.of_method = {{"lesson_prompts", {"<TOK>"}}};
  return options;
}

/// Gradient fusion that leads nowhere: the minimum itself.
FuseOptions without_ridge() {
  auto options = quick();
  options.of_method = {{"text_ridge", 1e-12}, {"unet_ridge", 1e-12}};
  return options;
}

void expect_same_weights(const Model& a, const Model& b, double tolerance) {
  const auto compare = [&](const torch::nn::Module& left, const torch::nn::Module& right) {
    const auto theirs = mos::io::state_dict_of(right);
    for (const auto& [key, value] : mos::io::state_dict_of(left)) {
      EXPECT_TRUE(torch::allclose(value, theirs.at(key), 0.0, tolerance)) << key;
    }
  };
  compare(*a.towers[0].encoder, *b.towers[0].encoder);
  compare(*a.unet, *b.unet);
}

TEST(FuseConcepts, OneConceptAloneComesBackOnItsOwnInputs) {
  auto model = mos::tiny::model();
  const std::vector sources{random_source("cat", 5)};
  const auto result = fuse_concepts(model, sources, without_ridge());
  const auto total = result.report.total();
  EXPECT_LT(total.after, 1e-6 * total.before);
  EXPECT_EQ(total.crosstalk, 0.0);
}

TEST(FuseConcepts, WhatIsKeptIsFedAsTheBaseModelFeedsIt) {
  const std::vector sources{random_source("dog", 5), random_source("owl", 6)};
  const auto shift_of = [&](const std::vector<std::string>& keep) {
    auto model = mos::tiny::model();
    const std::string prompt = "photo of a cat";
    const auto read = [&] {
      const torch::NoGradGuard no_grad;
      return encode_texts(model.towers, std::span(&prompt, 1)).context;
    };
    const auto before = read();
    auto options = without_ridge();
    options.of_method["keep"] = keep;
    options.record.fit_text = mos::fuse::TextFit::kPadded;  // the prompt is read with its padding
    options.weights = {1e-6, 1e-6};  // of the concepts; what is kept counts as 1
    const auto result = fuse_concepts(model, sources, options);
    EXPECT_EQ(result.report.concepts.size(), 2 + keep.size());
    EXPECT_EQ(result.delta.words.size(), 4U);
    return (read() - before).norm().item<double>();
  };
  EXPECT_LT(shift_of({"cat"}), 0.05 * shift_of({}));
}

TEST(FuseConcepts, CustomDiffusionAsksForWhatAConceptIsAtItsClassWordToo) {
  auto sources = std::vector{random_source("dog", 5), random_source("owl", 6)};
  sources[0].phrase = "<dog1> <dog2> cat";  // the other one has no class word
  const auto rows_of = [&](const std::string& method) {
    auto model = mos::tiny::model();
    auto options = quick(method);
    options.record.prompts = {"a <TOK>", "<TOK>"};
    std::vector<std::int64_t> rows;
    for (const auto& layer : fuse_concepts(model, sources, options).report.layers) {
      if (layer.stage == "cross_attention") rows = layer.concept_rows;
    }
    return rows;
  };
  // Two words and the end token of two prompts; the class word is one more of each.
  EXPECT_THAT(rows_of("gradient"), ElementsAre(6, 6));
  EXPECT_THAT(rows_of("custom_diffusion"), ElementsAre(8, 6));
}

TEST(FuseConcepts, GuidanceChangesWhatIsRecordedOfTheUNetAlone) {
  const std::vector sources{random_source("dog", 5), random_source("owl", 6)};
  const auto fused = [&](double guidance) {
    auto model = mos::tiny::model();
    auto options = quick();
    options.record.guidance_scale = guidance;
    return fuse_concepts(model, sources, options).delta;
  };
  const auto plain = fused(1.0), guided = fused(3.0);
  const auto is_same = [&](mos::checkpoint::Part part, bool text_fed) {
    for (const auto& [layer, update] : plain.of(part)) {
      const bool reads_text = layer.find("attn2.to_k") != std::string::npos ||
                              layer.find("attn2.to_v") != std::string::npos;
      if (part == kUNet && reads_text != text_fed) continue;
      if (!update.low_rank().down.equal(guided.of(part).at(layer).low_rank().down)) return false;
    }
    return true;
  };
  EXPECT_TRUE(is_same(kTextEncoder, true));
  EXPECT_TRUE(is_same(kUNet, true));
  EXPECT_FALSE(is_same(kUNet, false));
}

TEST(FuseConcepts, GradientFusionServesEveryConceptBetterThanTheBaseModel) {
  auto model = mos::tiny::model();
  const auto result =
      fuse_concepts(model, {random_source("cat", 5), random_source("dog", 6)}, quick());
  for (std::size_t i = 0; i < 2; ++i) {
    const auto fit = result.report.total_of_concept(i);
    EXPECT_LT(fit.after, fit.before);
    EXPECT_GT(fit.crosstalk, 0.0);
  }
  EXPECT_THAT(result.report.concepts, ElementsAre("cat", "dog"));
  ASSERT_EQ(result.report.stages.size(), 3U);
  for (const auto& stage : result.report.stages) {
    EXPECT_GT(stage.seconds, 0.0);
    EXPECT_GT(stage.peak_memory, 0);
    EXPECT_LT(result.report.total(stage.stage).after, result.report.total(stage.stage).before);
  }
}

TEST(FuseConcepts, AModelKeptInFloat16IsFusedInFloat32) {
  auto half = mos::tiny::model(), same = mos::tiny::model();
  for (auto* model : {&half, &same}) {
    model->towers[0].encoder->to(torch::kHalf);
    model->unet->to(torch::kHalf);
  }
  same.towers[0].encoder->to(torch::kFloat32);
  same.unet->to(torch::kFloat32);
  const std::vector sources{random_source("cat", 5), random_source("dog", 6)};
  const auto from_half = fuse_concepts(half, sources, quick()).delta;
  const auto expected = fuse_concepts(same, sources, quick()).delta;
  const auto difference = [](const mos::concepts::LayerUpdates& a,
                             const mos::concepts::LayerUpdates& b) {
    double largest = 0.0;
    for (const auto& [layer, update] : a) {
      const auto wanted = lora_update(b.at(layer).low_rank());
      const auto error = (lora_update(update.low_rank()) - wanted).norm() / wanted.norm();
      largest = std::max(largest, error.item<double>());
    }
    return largest;
  };
  EXPECT_LT(difference(from_half.of(kTextEncoder), expected.of(kTextEncoder)), 1e-6);
  // The later stages run with what the first has written: rounded to float16.
  EXPECT_LT(difference(from_half.of(kUNet), expected.of(kUNet)), 2e-2);
  EXPECT_EQ(half.unet->parameters().front().scalar_type(), torch::kHalf);
}

bool is_patch_reader(const mos::fuse::LayerReport& layer) {
  return layer.layer.find("conv") != std::string::npos &&
         layer.layer.find("shortcut") == std::string::npos;
}

TEST(FuseConcepts, ConvolutionsAreFittedOnTheirPatches) {
  auto model = mos::tiny::model();
  const auto result = fuse_concepts(model, {random_locon("cat", 5)}, without_ridge());
  std::int64_t fitted = 0;
  for (const auto& layer : result.report.layers) {
    ASSERT_EQ(layer.fits.size(), 1U) << layer.layer;
    EXPECT_LT(layer.fits[0].after, 1e-6 * layer.fits[0].before) << layer.layer;
    fitted += is_patch_reader(layer);
  }
  EXPECT_GT(fitted, 0);
}

TEST(FuseConcepts, TwoLoconsWithoutWordsOfTheirOwnFuse) {
  auto model = mos::tiny::model();
  const auto result =
      fuse_concepts(model, {random_locon("cat", 5), random_locon("ox", 6)}, quick());
  EXPECT_TRUE(result.delta.words.empty());
  for (const auto& layer : result.report.layers) {
    ASSERT_EQ(layer.fits.size(), 2U) << layer.layer;
    EXPECT_LT(layer.fits[0].after + layer.fits[1].after,
              layer.fits[0].before + layer.fits[1].before)
        << layer.layer;
  }
}

TEST(FuseConcepts, ConvolutionsBeyondTheMemoryAreAveragedAndNamed) {
  auto model = mos::tiny::model();
  const auto base = mos::io::state_dict_of(*model.unet);
  std::map<std::string, torch::Tensor> before;
  for (const auto& [key, value] : base) before[key] = value.clone();
  auto options = quick();
  options.record.conv_memory = 0.0;
  const std::vector sources{random_locon("cat", 5), random_locon("ox", 6)};
  const auto result = fuse_concepts(model, sources, options);
  std::int64_t averaged = 0;
  for (const auto& layer : result.report.layers) {
    EXPECT_EQ(layer.fits.empty(), is_patch_reader(layer)) << layer.layer;
    if (!layer.fits.empty()) continue;
    ++averaged;
    const auto expected = before.at(layer.layer + ".weight") +
                          0.5 * lora_update(sources[0].delta.of(kUNet).at(layer.layer).low_rank()) +
                          0.5 * lora_update(sources[1].delta.of(kUNet).at(layer.layer).low_rank());
    EXPECT_TRUE(torch::allclose(base.at(layer.layer + ".weight"), expected, 0.0, 1e-5))
        << layer.layer;
  }
  EXPECT_GT(averaged, 0);
  EXPECT_THAT(result.report.to_json().dump(), HasSubstr(R"("method":"weight")"));
}

TEST(FuseConcepts, TheLoraFileGivesTheFusedModelsWeightsWhateverTheMethod) {
  const std::vector sources{random_source("cat", 5), random_source("dog", 6)};
  const mos::TempDir folder;
  for (const auto& info : mos::fuse::methods()) {
    const std::string method(info.name);
    SCOPED_TRACE(method);
    auto fused = mos::tiny::model();
    const auto result = fuse_concepts(fused, sources, quick(method));
    const auto file = folder / (method + ".safetensors");
    save_concept(file, result.delta);
    const auto loaded = mos::concepts::load_concept(file);
    EXPECT_EQ(loaded.words.size(), 4U);
    for (const auto& layer : result.report.layers) {
      const bool merged = method != "custom_diffusion" || layer.stage == "cross_attention";
      EXPECT_EQ(layer.method, merged ? method : "weight") << layer.layer;
      if (method == "gradient" || method == "weight") {
        EXPECT_EQ(layer.rank, 4) << layer.layer;
      }
    }

    auto base = mos::tiny::model();
    merge_concept(base, loaded, 1.0, "the file");
    expect_same_weights(base, fused, 1e-5);
  }
}

TEST(FuseConcepts, TheSameInputGivesTheSameBytes) {
  const std::vector sources{random_source("cat", 5), random_source("dog", 6)};
  const mos::TempDir folder;
  for (const char* name : {"a.safetensors", "b.safetensors"}) {
    auto model = mos::tiny::model();
    save_concept(folder / name, fuse_concepts(model, sources, quick()).delta);
  }
  EXPECT_EQ(mos::read_text_file(folder / "a.safetensors"),
            mos::read_text_file(folder / "b.safetensors"));
}

TEST(FuseConcepts, TheFusedModelKnowsAllWordsAfterSavingAndLoading) {
  auto model = mos::tiny::model();
  const std::vector sources{random_source("cat", 5), random_source("dog", 6)};
  fuse_concepts(model, sources, quick());
  const mos::TempDir folder;
  model.save(folder / "fused");
  const auto loaded = Model::load(folder / "fused");
  const std::array prompts = {std::string("a <cat1> <dog2>")};
  const auto states = [&](const Model& from) {
    const auto tokens =
        mos::concepts::ConceptTokens::from_json(from.concepts, from.unet->cross_attention_count());
    const torch::NoGradGuard no_grad;
    return encode_prompts(tokens, from.towers, prompts).context;
  };
  EXPECT_EQ(states(model).dim(), 4);
  EXPECT_TRUE(torch::allclose(states(model), states(loaded)));
}

TEST(FuseConcepts, WeightFusionIsTheWeightedSumOfTheUpdates) {
  auto sources = std::vector{random_source("cat", 5), random_source("dog", 6)};
  sources[1].scales[kUNet] = 0.5;
  auto options = quick("weight");
  options.weights = {3.0, 1.0};
  auto fused = mos::tiny::model();
  const auto result = fuse_concepts(fused, sources, options);
  EXPECT_EQ(result.report.total().before, 0.0);  // it looks at no inputs

  auto expected = mos::tiny::model();
  for (std::size_t i = 0; i < 2; ++i) {
    const double weight = i == 0 ? 0.75 : 0.25;
    merge_lora(*expected.towers[0].encoder, sources[i].delta.of(kTextEncoder), weight, "cat");
    merge_lora(*expected.unet, sources[i].delta.of(kUNet), weight * sources[i].scale(kUNet), "cat");
  }
  expect_same_weights(fused, expected, 1e-6);
}

TEST(FuseConcepts, LbfgsComesCloseToTheExactSolution) {
  const std::vector sources{random_source("cat", 5), random_source("dog", 6)};
  auto model = mos::tiny::model();
  const auto exact = fuse_concepts(model, sources, without_ridge()).report.total("text_encoder");
  auto options = quick("lbfgs");
  options.of_method = {{"text_iterations", 60}, {"unet_iterations", 5}};
  model = mos::tiny::model();
  const auto lbfgs = fuse_concepts(model, sources, options).report.total("text_encoder");
  EXPECT_GE(lbfgs.after, exact.after * (1.0 - 1e-9));
  EXPECT_LT(lbfgs.after, exact.after + 0.05 * exact.before);
}

TEST(FuseConcepts, LayersThatOnlyOneConceptTouchesAreFusedToo) {
  auto sources = std::vector{random_source("cat", 5), random_source("dog", 6)};
  sources[0].delta.updates[kTextEncoder].clear();
  const auto only = sources[0].delta.of(kUNet).begin()->first;
  sources[1].delta.updates[kUNet].erase(only);
  auto model = mos::tiny::model();
  const auto result = fuse_concepts(model, sources, quick());
  EXPECT_EQ(result.delta.of(kUNet).at(only).low_rank().rank(), 2);
  for (const auto& layer : result.report.layers) {
    if (layer.stage != "text_encoder") continue;
    EXPECT_EQ(layer.fits[0].before, 0.0) << layer.layer;
  }
}

TEST(FuseConcepts, AFusedModelTakesFurtherConcepts) {
  auto model = mos::tiny::model();
  fuse_concepts(model, {random_source("cat", 5)}, quick());
  const mos::TempDir folder;
  model.save(folder / "one");
  auto loaded = Model::load(folder / "one");
  fuse_concepts(loaded, {random_source("dog", 6)}, quick());
  EXPECT_TRUE(loaded.concepts.contains("<cat1>") && loaded.concepts.contains("<dog2>"));
  EXPECT_THAT(message_of(ErrorKind::kUsage,
                         [&] { fuse_concepts(loaded, {random_source("cat", 7)}, quick()); }),
              HasSubstr("the base model and cat both use the words <cat1> and <cat2>"));
}

TEST(FuseConcepts, ReportsEveryLayerAndConcept) {
  auto model = mos::tiny::model();
  const std::vector sources{random_source("cat", 5), random_source("dog", 6)};
  const auto result = fuse_concepts(model, sources, quick());
  EXPECT_EQ(result.report.layers.size(), sources[0].delta.layer_count());
  const auto json = result.report.to_json();
  for (const auto& layer : json["layers"]) {
    for (const char* name : {"cat", "dog"}) {
      for (const char* quantity : {"before", "after", "crosstalk"}) {
        EXPECT_TRUE(layer["concepts"][name][quantity].is_number()) << layer.dump();
      }
      // Of two, the other one has all of it.
      const auto& fit = layer["concepts"][name];
      EXPECT_EQ(fit["crosstalk_from"].size(), 1U);
      EXPECT_NEAR(fit["crosstalk_from"].front().get<double>(), fit["crosstalk"].get<double>(),
                  1e-9 + 1e-6 * fit["crosstalk"].get<double>());
    }
  }
  EXPECT_GT(json["total"]["before"].get<double>(), json["total"]["after"].get<double>());
}

TEST(FuseConcepts, ProgressComesAfterEachStepWithTheTimeOfItsStage) {
  auto model = mos::tiny::model();
  std::vector<mos::Progress> told;
  fuse_concepts(model, {random_source("cat", 5), random_source("dog", 6)}, quick(),
                [&](const mos::Progress& progress) { told.push_back(progress); });
  std::vector<std::string> stages;
  for (const auto& progress : told) {
    EXPECT_GT(progress.seconds, 0.0) << progress.stage;
    EXPECT_LE(progress.step, progress.total) << progress.stage;
    if (stages.empty() || stages.back() != progress.stage) stages.push_back(progress.stage);
  }
  EXPECT_THAT(stages, ElementsAre("recording the text encoder", "merging the text encoder",
                                  "recording the cross-attention", "merging the cross-attention",
                                  "sampling cat", "sampling dog", "merging the U-Net"));
  for (std::size_t i = 1; i < told.size(); ++i) {
    if (told[i].stage != told[i - 1].stage) continue;
    EXPECT_EQ(told[i].step, told[i - 1].step + 1);
    EXPECT_GE(told[i].seconds, told[i - 1].seconds);
  }
}

TEST(FuseConcepts, RoundsRecordOnWhatWasMergedBefore) {
  const std::vector sources{random_source("cat", 5), random_source("dog", 6)};
  auto options = without_ridge();
  options.of_method["rounds"] = 2;
  std::vector<std::string> stages;
  auto model = mos::tiny::model();
  const auto again = fuse_concepts(model, sources, options, [&](const mos::Progress& progress) {
    if (stages.empty() || stages.back() != progress.stage) stages.push_back(progress.stage);
  });
  EXPECT_THAT(stages, testing::Contains("recording the text encoder again (2)"));
  EXPECT_THAT(stages, testing::Contains("sampling dog again (2)"));
  EXPECT_EQ(again.report.layers.size(), sources[0].delta.layer_count());
  auto other = mos::tiny::model();
  const auto once = fuse_concepts(other, sources, without_ridge());
  // The layer that reads the embeddings has the same inputs whatever is merged, the next has not.
  const auto weight = mos::io::state_dict_of(*mos::tiny::model().towers[0].encoder)
                          .at("text_model.encoder.layers.0.self_attn.q_proj.weight");
  const auto update = [&](const mos::fuse::FusionResult& result, const std::string& layer) {
    return result.delta.of(kTextEncoder).at(layer).difference(weight);
  };
  const auto error = [&](const std::string& layer) {
    const auto wanted = update(once, layer);
    return ((update(again, layer) - wanted).norm() / wanted.norm()).item<double>();
  };
  EXPECT_LT(error("text_model.encoder.layers.0.self_attn.q_proj"), 1e-3);
  EXPECT_GT(error("text_model.encoder.layers.1.self_attn.q_proj"), 1e-2);
}

TEST(FuseConcepts, StopsWhenCancelled) {
  auto model = mos::tiny::model();
  mos::CancelToken cancel;
  const auto cancel_in_sampling = [&](const mos::Progress& progress) {
    if (progress.stage.starts_with("sampling")) cancel.cancel();
  };
  message_of(ErrorKind::kCancelled, [&] {
    fuse_concepts(model, {random_source("cat", 5)}, quick(), cancel_in_sampling, &cancel);
  });
  mos::nn::for_each_lora_layer(*model.unet, [](const std::string& name, mos::nn::LoraLayer& l) {
    EXPECT_FALSE(l.input_observer) << name;
  });
}

TEST(FuseConcepts, RefusesAConceptOfAnotherBaseModel) {
  auto source = random_source("cat", 5);
  source.delta.updates[kUNet]["no.such.layer"] = source.delta.of(kUNet).begin()->second;
  auto model = mos::tiny::model();
  EXPECT_THAT(message_of(ErrorKind::kMismatch, [&] { fuse_concepts(model, {source}, quick()); }),
              HasSubstr("no.such.layer"));
}

}  // namespace
