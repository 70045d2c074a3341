#include "mos/tune/plan.h"

#include <gmock/gmock.h>

#include <cmath>

#include "mos/base/error.h"
#include "mos/concepts/lora.h"
#include "mos/tune/trainer.h"
#include "mos/tune/tune.h"
#include "tests/tune/tiny_model.h"

namespace {

using enum mos::checkpoint::Part;

using mos::concepts::ConceptDelta;
using mos::tune::DownStart;
using mos::tune::method_options;
using mos::tune::plan_of;
using mos::tune::TuneOptions;
using mos::tune::TuningPlan;
using mos::tune::WordRows;
using mos::tune::testing::tiny_dataset;
using mos::tune::testing::tiny_model;
using ::testing::HasSubstr;
using torch::Tensor;

/// A method's options on a base without defaults, small enough for the tiny model.
TuneOptions complete_method(const std::string& name) {
  auto options = method_options(name, "");
  options.run.dtype = "float32";
  options.run.preview_pictures = 0;
  options.optimiser.steps = 3;
  options.optimiser.batch = 2;
  return mos::tune::complete_options(options, tiny_dataset());
}

TEST(Methods, AreAllPossible) {
  for (const auto& name : mos::tune::method_names()) {
    EXPECT_NO_THROW(mos::tune::check_options(method_options(name, ""))) << name;
    EXPECT_EQ(method_options(name, "").method, name);
  }
}

/// What their sources say, put down here a second time.
struct Expected {
  const char* method;
  WordRows rows;
  std::int64_t rank;
  double word_rate, text_rate, unet_rate, density, kv_drop, noise_offset;
  std::int64_t steps, batch;
};

TEST(Methods, HaveThePlansOfTheirSources) {
  const Expected all[] = {
      {"ed_lora", WordRows::kPerLayer, 4, 1e-3, 1e-5, 1e-4, 0, 0, 0.01, 1000, 4},
      {"ed_lora_paper", WordRows::kPerLayer, 4, 1e-3, 1e-5, 1e-4, 0.002, 0.2, 0.01, 1000, 4},
      {"lora", WordRows::kShared, 4, 5e-4, 1e-5, 1e-4, 0, 0, 0, 500, 2},
      {"p_plus", WordRows::kPerLayer, 0, 1e-3, 1e-5, 1e-4, 0.002, 0, 0, 500, 2},
      {"textual_inversion", WordRows::kShared, 0, 1e-3, 1e-5, 1e-4, 0, 0, 0, 500, 2},
  };
  for (const auto& expected : all) {
    const auto options = method_options(expected.method, "");
    const auto plan = plan_of(options);
    SCOPED_TRACE(expected.method);
    EXPECT_EQ(plan.rows, expected.rows);
    EXPECT_EQ(plan.weights.rank, expected.rank);
    EXPECT_EQ(plan.group("words").rate, expected.word_rate);
    EXPECT_EQ(plan.group("text_encoder").rate, expected.text_rate);
    EXPECT_EQ(plan.group("unet").rate, expected.unet_rate);
    EXPECT_EQ(plan.terms.density_weight, expected.density);
    EXPECT_EQ(plan.terms.density_bandwidth, 0.5);
    EXPECT_EQ(plan.kv_drop, expected.kv_drop);
    EXPECT_EQ(options.loss.noise_offset, expected.noise_offset);
    EXPECT_EQ(options.optimiser.steps, expected.steps);
    EXPECT_EQ(options.optimiser.batch, expected.batch);
    const bool main_branch = options.method == "ed_lora";
    EXPECT_EQ(plan.weights.start, main_branch ? DownStart::kKaiming : DownStart::kGaussian);
    EXPECT_EQ(options.loss.mask_loss, main_branch);
    EXPECT_EQ(options.loss.attention_weight, main_branch ? 0.01 : 0.0);
    EXPECT_EQ(plan.group("words").freeze_at_norm, main_branch ? 0.55 : 0.0);
  }
}

/// The same of methods with class pictures.
struct ExpectedPrior {
  const char* method;
  mos::tune::WeightForm form;
  mos::tune::Selector where;
  double word_rate, unet_rate;
  std::int64_t steps, batch;
};

TEST(Methods, WithClassPicturesHaveThePlansOfTheirSources) {
  using enum mos::tune::WeightForm;
  using enum mos::tune::Selector;
  const ExpectedPrior all[] = {
      {"dreambooth", kFull, kAll, 1e-3, 5e-6, 800, 2},
      {"custom_diffusion", kFull, kCrossKv, 8e-5, 8e-5, 250, 4},
      {"svdiff", kSpectral, kAll, 1e-3, 1e-3, 500, 1},
      {"cones", kNeurons, kKv, 1e-3, 5e-6, 1000, 1},
  };
  for (const auto& expected : all) {
    SCOPED_TRACE(expected.method);
    const auto options = method_options(expected.method, "");
    const auto plan = plan_of(options);
    const bool has_word = options.method == "custom_diffusion";
    EXPECT_EQ(plan.rows, has_word ? WordRows::kShared : WordRows::kNone);
    EXPECT_EQ(options.words.rare_word, has_word ? "ktn" : "sks");
    EXPECT_TRUE(options.words.class_behind);
    EXPECT_EQ(plan.weights.form, expected.form);
    EXPECT_EQ(plan.weights.where, expected.where);
    EXPECT_EQ(plan.group("words").rate, expected.word_rate);
    EXPECT_EQ(plan.group("text_encoder").rate, 0.0);
    EXPECT_EQ(plan.group("unet").rate, expected.unet_rate);
    EXPECT_EQ(options.prior.pictures, 200);
    // Of errors that are sums over 4 channels, as its source has a sum beside a mean.
    EXPECT_EQ(options.prior.weight, has_word ? 0.25 : 1.0);
    EXPECT_EQ(options.captions.dropout, 0.0);
    EXPECT_EQ(options.optimiser.steps, expected.steps);
    EXPECT_EQ(options.optimiser.batch, expected.batch);
    EXPECT_EQ(options.optimiser.decay, mos::tune::Decay::kNone);
    EXPECT_EQ(options.loss.stop_first_token, has_word);
  }
  const auto cones = plan_of(method_options("cones", ""));  // 7e-3 of gradients of 2e-5
  EXPECT_NEAR(cones.weights.silent_gate, 7e-3 * 2e-5, 1e-12);
}

TEST(ClassBehind, StandsAfterTheFirstWordOfTheFolderOrTheRareOne) {
  const auto phrase_of = [](const std::string& method) {
    auto options = method_options(method, "");
    return mos::tune::concept_phrase(mos::tune::complete_options(options, tiny_dataset()).words);
  };
  EXPECT_EQ(phrase_of("custom_diffusion"), "<fox1> man");
  EXPECT_EQ(phrase_of("dreambooth"), "sks man");
  EXPECT_EQ(phrase_of("ed_lora"), "<fox1> <fox2>");
}

TEST(SingleWord, IsTheFirstOfTheFolderAndStartsAsTheClassWord) {
  for (const char* method : {"lora", "p_plus", "textual_inversion"}) {
    const auto options =
        mos::tune::complete_options(method_options(method, ""), tiny_dataset()).words;
    EXPECT_THAT(options.words, ::testing::ElementsAre("<fox1>")) << method;
    EXPECT_THAT(options.initializers, ::testing::ElementsAre("man")) << method;
  }
  auto two = method_options("lora", "");
  two.words.words = {"<a>", "<b>"};  // who names them gets them
  EXPECT_EQ(mos::tune::concept_phrase(mos::tune::complete_options(two, tiny_dataset()).words),
            "<a> <b>");
}

TEST(Methods, ComeBetweenABasesDefaultsAndWhatItSaysOfThem) {
  const mos::TempDir base;
  mos::write_text_file(base / "tune_defaults.json", R"({
      "method": "lora", "steps": 300, "batch": 8, "random_sigma": 0.035, "embedding_rate": 0.1,
      "methods": {"p_plus": {"batch": 5}, "lora": {"steps": 70}}})");
  const auto p_plus = method_options("p_plus", base.path());
  EXPECT_EQ(p_plus.words.random_sigma, 0.035);       // the base's
  EXPECT_EQ(p_plus.optimiser.embedding_rate, 1e-3);  // the method's
  EXPECT_EQ(p_plus.optimiser.steps, 500);            // the method's
  EXPECT_EQ(p_plus.optimiser.batch, 5);              // the base's for the method
  EXPECT_EQ(method_options("", base.path()).method, "lora");
  EXPECT_EQ(method_options("", base.path()).optimiser.steps, 70);
  EXPECT_EQ(method_options("ed_lora", base.path()).optimiser.steps, 300);
}

TEST(Methods, OfAnUnknownNameAreRefusedWhereverItStands) {
  const auto refusal = [](const std::string& method, const std::filesystem::path& base) {
    try {
      method_options(method, base);
    } catch (const mos::Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_THAT(refusal("ed_lora_papr", ""), HasSubstr("did you mean"));
  const mos::TempDir base;
  mos::write_text_file(base / "tune_defaults.json", R"({"methods": {"xti": {}}})");
  EXPECT_THAT(refusal("lora", base.path()), HasSubstr("xti"));
  mos::write_text_file(base / "tune_defaults.json", R"({"methods": {"lora": {"stepz": 1}}})");
  EXPECT_THAT(refusal("lora", base.path()), HasSubstr("stepz"));
}

std::vector<Tensor> weights_of(const mos::diffusion::Model& base) {
  std::vector<Tensor> weights;
  for (const auto& network : {base.towers[0].encoder->parameters(), base.unet->parameters()}) {
    for (const auto& weight : network) weights.push_back(weight.detach().clone());
  }
  return weights;
}

TEST(WordsAlone, LeaveEveryWeightAsItIs) {
  for (const auto* method : {"textual_inversion", "p_plus"}) {
    const auto base = tiny_model();
    const auto dataset = tiny_dataset();
    const auto before = weights_of(base);
    mos::tune::Trainer trainer(base, dataset, complete_method(method));
    const auto start = trainer.attached().snapshot();
    for (int step = 0; step < 3; ++step) trainer.step();
    const auto after = weights_of(base);
    ASSERT_EQ(after.size(), before.size()) << method;  // nothing was attached either
    for (std::size_t i = 0; i < before.size(); ++i) EXPECT_TRUE(after[i].equal(before[i]));
    const auto tuned = trainer.attached().snapshot();
    EXPECT_TRUE(tuned.layer_count() == 0);
    EXPECT_FALSE(tuned.words[0].rows.first().equal(start.words[0].rows.first()));
  }
}

TEST(WordsAlone, AreNotTunedWithoutWords) {
  auto dataset = tiny_dataset();
  dataset.words.clear();
  EXPECT_THROW(mos::tune::complete_options(method_options("textual_inversion", ""), dataset),
               mos::Error);
}

TEST(PlainWords, AreNoneOfTheDataFolder) {
  auto options = method_options("lora", "");
  options.words.rows = WordRows::kNone;
  const auto complete = mos::tune::complete_options(options, tiny_dataset());
  EXPECT_TRUE(complete.words.words.empty());  // <fox1> would be seven letters and signs
  EXPECT_EQ(mos::tune::concept_phrase(complete.words), "man");
}

TEST(GaussianStart, HasTheDeviationOfOneOverTheRank) {
  const auto base = tiny_model();
  auto options = complete_method("ed_lora_paper");
  for (const std::int64_t rank : {2, 8}) {
    options.weights.rank = rank;
    const auto start = mos::tune::start_values(base, options);
    std::vector<Tensor> numbers;
    for (const auto& [layer, pair] : start.of(kUNet))
      numbers.push_back(pair.low_rank().down.flatten());
    const auto all = torch::cat(numbers);  // some thousand
    EXPECT_NEAR(all.std().item<double>() * static_cast<double>(rank), 1.0, 0.05);
    EXPECT_NEAR(all.mean().item<double>() * static_cast<double>(rank), 0.0, 0.05);
  }
}

/// Σ over rows of −log Σ_c mean_v K(x_c − E_vc) with bandwidth 0.5.
double density_by_loops(const Tensor& rows, const Tensor& vocabulary) {
  const auto x = rows.to(torch::kFloat64), e = vocabulary.detach().to(torch::kFloat64);
  double loss = 0;
  for (std::int64_t r = 0; r < x.size(0); ++r) {
    const auto u = (x[r] - e) / 0.5;
    const auto kernel = torch::exp(-0.5 * u * u) / (std::sqrt(2 * M_PI) * 0.5);
    loss -= std::log(kernel.mean(0).sum().item<double>());
  }
  return loss;
}

TEST(DensityTerm, IsAddedToTheLossAtItsWeight) {
  auto base = tiny_model();
  const auto dataset = tiny_dataset();
  auto options = complete_method("ed_lora_paper");
  options.weights.kv_drop = 0;
  options.loss.density_weight = 0.0;
  double plain = 0;
  Tensor rows;
  {
    mos::tune::Trainer trainer(base, dataset, options);
    for (const auto& word : trainer.attached().snapshot().words) {
      rows = rows.defined() ? torch::cat({rows, word.rows.first()}) : word.rows.first();
    }
    plain = trainer.step();
  }
  options.loss.density_weight = 0.002;
  mos::tune::Trainer trainer(base, dataset, options);
  const double term = 0.002 * density_by_loops(rows, base.towers[0].encoder->token_embedding());
  EXPECT_NEAR(trainer.step() - plain, term, 1e-6);
  EXPECT_GT(std::abs(term), 1e-2);
}

/// A concept whose LoRA does something.
ConceptDelta moved_concept(const mos::diffusion::Model& base) {
  auto delta = mos::tune::start_values(base, complete_method("ed_lora_paper"));
  auto generator = mos::seeded_generator(5);
  for (auto& [layer, pair] : delta.updates[kUNet]) {
    auto& up = pair.low_rank().up;
    up = mos::randn(up.sizes(), generator) * 0.3;
  }
  return delta;
}

TEST(KvDrop, IsAForwardWithoutTheLoraOfThoseLayers) {
  auto base = tiny_model();
  const auto delta = moved_concept(base);
  auto generator = mos::seeded_generator(6);
  const auto latents = mos::randn({1, 4, 8, 8}, generator);
  const auto context = mos::randn({1, 24, 16}, generator);
  const auto at = torch::full({1}, 500, torch::kInt64);

  mos::tune::AttachedConcept attached(base, delta);
  const auto layers = attached.kv_layers();
  ASSERT_EQ(layers.size(), 2U * static_cast<std::size_t>(base.unet->cross_attention_count()));
  const auto nth = [&](std::ptrdiff_t i) { return *std::next(layers.begin(), i); };
  const std::set<mos::tune::AttachedConcept::Layer> dropped = {nth(0), nth(3), nth(6)};
  torch::NoGradGuard no_grad;
  const auto whole = base.unet(latents, at, context);
  attached.switch_off(dropped);
  const auto without = base.unet(latents, at, context);
  attached.switch_off({});
  EXPECT_TRUE(base.unet(latents, at, context).equal(whole));

  auto by_hand = tiny_model();  // the other pairs in the weights themselves
  mos::concepts::merge_lora(*by_hand.unet,
                            mos::concepts::filter(delta.of(kUNet),
                                                  [&](const std::string& layer) {
                                                    return !dropped.contains({kUNet, layer});
                                                  }),
                            1.0, "the test");
  const auto expected = by_hand.unet(latents, at, context);
  const double largest = expected.abs().max().item<double>();
  EXPECT_TRUE(torch::allclose(without, expected, 0, 1e-4 * largest));
  EXPECT_FALSE(torch::allclose(without, whole, 0, 1e-2 * largest));
}

TEST(KvDrop, LeavesTheLoraThatIsAlwaysOffWhereItStarted) {
  const auto base = tiny_model();
  const auto dataset = tiny_dataset();
  auto options = complete_method("ed_lora_paper");
  options.weights.kv_drop = 1.0;
  options.optimiser.micro_batch = 1;  // in every replica
  mos::tune::Trainer trainer(base, dataset, options);
  for (int step = 0; step < 2; ++step) trainer.step();
  const auto tuned = trainer.attached().snapshot();
  const auto dropped = trainer.attached().kv_layers();
  for (const auto& [layer, pair] : tuned.of(kUNet)) {
    const bool is_off = dropped.contains({kUNet, layer});
    EXPECT_EQ(pair.low_rank().up.abs().sum().item<double>() == 0, is_off) << layer;
  }
  for (const auto& [part, layer] : dropped) EXPECT_THAT(layer, HasSubstr("attn2.to_"));
}

TEST(LoraDrop, LeavesAllWeightsWhereTheyStartedAndTheWordsLearn) {
  const auto base = tiny_model();
  const auto dataset = tiny_dataset();
  auto options = complete_method("ed_lora");
  options.weights.lora_drop = 1.0;
  options.optimiser.micro_batch = 1;  // in every replica
  mos::tune::Trainer trainer(base, dataset, options);
  const auto before = trainer.attached().snapshot();
  for (int step = 0; step < 2; ++step) trainer.step();
  const auto tuned = trainer.attached().snapshot();
  for (const auto part : {kUNet, kTextEncoder}) {
    ASSERT_FALSE(tuned.of(part).empty());
    for (const auto& [layer, pair] : tuned.of(part)) {
      EXPECT_EQ(pair.low_rank().up.abs().sum().item<double>(), 0.0) << layer;
    }
  }
  for (std::size_t i = 0; i < tuned.words.size(); ++i) {
    EXPECT_FALSE(tuned.words[i].rows.first().equal(before.words[i].rows.first()));
  }
}

TEST(LoraDrop, AtAHalfTheWeightsLearnToo) {
  const auto base = tiny_model();
  const auto dataset = tiny_dataset();
  auto options = complete_method("ed_lora");
  options.weights.lora_drop = 0.5;
  mos::tune::Trainer trainer(base, dataset, options);
  // Which step moves them first is drawn: the sums of their ups stay 0 until then.
  const auto sum = [&] {
    double all = 0.0;
    const auto now = trainer.attached().snapshot();
    for (const auto& [layer, pair] : now.of(kUNet)) {
      all += pair.low_rank().up.abs().sum().item<double>();
    }
    return all;
  };
  int dropped = 0;
  for (; dropped < 20 && (trainer.step(), sum() == 0.0); ++dropped) {
  }
  EXPECT_LT(dropped, 20);
}

}  // namespace
