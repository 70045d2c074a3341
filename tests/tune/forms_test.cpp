#include <gmock/gmock.h>
#include <torch/csrc/autograd/autograd.h>

#include <functional>
#include <map>

#include "mos/base/error.h"
#include "mos/base/file.h"
#include "mos/concepts/concept_file.h"
#include "mos/concepts/concept_writer.h"
#include "mos/concepts/lora.h"
#include "mos/tune/first_token.h"
#include "mos/tune/plan.h"
#include "mos/tune/trainer.h"
#include "mos/tune/tune.h"
#include "tests/tune/tiny_model.h"

/// The forms in which weights are trained, each against a gradient worked out beside it.
namespace {

using enum mos::checkpoint::Part;

using mos::concepts::ConceptDelta;
using mos::concepts::LoraPart;
using mos::tune::ConceptDataset;
using mos::tune::Trainer;
using mos::tune::TuneBatch;
using mos::tune::TuneOptions;
using mos::tune::WordRows;
using mos::tune::testing::tiny_dataset;
using mos::tune::testing::tiny_model;
using torch::Tensor;

constexpr double kRate = 0.1;
constexpr double kPriorWeight = 0.7;

bool is_any(const std::string&) { return true; }
bool is_cross_kv(const std::string& layer) {
  return layer.ends_with("attn2.to_k") || layer.ends_with("attn2.to_v");
}
bool is_kv(const std::string& layer) {
  return layer.ends_with(".to_k") || layer.ends_with(".to_v");
}

ConceptDataset dataset_with_prior() {
  auto dataset = tiny_dataset();
  auto generator = mos::seeded_generator(31);
  for (int i = 0; i < 3; ++i) {
    dataset.prior.push_back(
        {.name = std::to_string(i),
         .pixels = mos::randint(0, 256, {32, 32, 3}, generator).to(torch::kUInt8),
         .caption = {.text = "a man", .from_file = true}});
  }
  return dataset;
}

/// A method's options for the tiny model, small and quick.
TuneOptions tiny_method(const std::string& name) {
  auto options = mos::tune::method_options(name, "");
  options.run.dtype = "float32";
  options.run.preview_pictures = 0;
  options.optimiser.steps = 3;
  options.optimiser.batch = 2;
  options.pictures.variants = 2;
  if (options.words.rare_word == "ktn") options.words.rare_word = "man";  // one token here
  if (options.prior.pictures > 0) {
    options.prior.pictures = 3;
    options.prior.weight = kPriorWeight;
  }
  return options;
}

/// The same as one step of plain gradient descent on the U-Net alone.
TuneOptions one_step(const std::string& name) {
  auto options = tiny_method(name);
  options.optimiser.rule = mos::tune::Rule::kDescent;
  options.optimiser.decay = mos::tune::Decay::kNone;
  options.optimiser.unet_rate = kRate;
  options.optimiser.text_rate = 0.0;
  options.optimiser.embedding_rate = 0.0;
  options.loss.stop_first_token = false;
  options.loss.density_weight = 0.0;
  options.weights.kv_drop = 0.0;
  return mos::tune::complete_options(options, dataset_with_prior());
}

/// Loss of one batch and its gradient for the layers of a U-Net that nothing is attached to.
struct ByHand {
  double loss = 0.0;
  std::map<std::string, Tensor> weights, gradients, bias_gradients;  ///< By layer.
};

ByHand by_hand(Trainer& trainer, const std::function<bool(const std::string&)>& wanted) {
  auto model = tiny_model();
  std::vector<std::string> names;
  std::vector<Tensor> leaves, biases;
  ByHand result;
  mos::nn::for_each_lora_layer(*model.unet, [&](const std::string& name, auto& layer) {
    if (!wanted(name)) return;
    names.push_back(name);
    leaves.push_back(layer.weight);
    biases.push_back(layer.bias.defined() ? layer.bias : torch::zeros({1}).requires_grad_());
    result.weights[name] = layer.weight.detach().clone();
  });
  const auto batch = trainer.draw_batch(0);
  const auto own = batch.latents.size(0) / (batch.weights.defined() ? 2 : 1);
  const auto text = [&] {
    torch::NoGradGuard no_grad;
    return trainer.attached().encode(batch.prompts);
  }();
  const auto noisy = model.schedule.add_noise(batch.latents, batch.noise, batch.timesteps);
  const auto error = (model.unet(noisy, batch.timesteps, text) - batch.noise).square();
  auto loss = torch::zeros({});
  for (std::int64_t i = 0; i < error.size(0); ++i) {
    const auto& mask = batch.picture_masks[i];
    const auto of_picture = (error[i] * mask).sum() / mask.sum() / static_cast<double>(own);
    loss = loss + (i < own ? 1.0 : kPriorWeight) * of_picture;
  }
  result.loss = loss.item<double>();
  auto all = leaves;
  all.insert(all.end(), biases.begin(), biases.end());
  const auto gradients = torch::autograd::grad({loss}, all, {}, false, false, true);
  for (std::size_t i = 0; i < names.size(); ++i) {
    result.gradients[names[i]] = gradients[i];
    result.bias_gradients[names[i]] = gradients[names.size() + i];
  }
  return result;
}

void expect_near(const Tensor& actual, const Tensor& expected, const std::string& what) {
  const double largest = expected.abs().max().item<double>();
  EXPECT_TRUE(torch::allclose(actual, expected.view(actual.sizes()), 1e-3, 2e-3 * largest + 1e-8))
      << what << ": " << (actual - expected.view(actual.sizes())).abs().max() << " of " << largest;
}

/// One step of `method`, and what it was by hand for the layers that `wanted` names.
struct Step {
  ConceptDelta tuned;
  ByHand expected;
};
Step step_of(const std::string& method, const std::function<bool(const std::string&)>& wanted,
             const std::function<void(TuneOptions&)>& change = {}) {
  const auto base = tiny_model();
  const auto dataset = dataset_with_prior();
  auto options = one_step(method);
  if (change) change(options);
  Trainer trainer(base, dataset, options);
  Step step{.expected = by_hand(trainer, wanted)};
  EXPECT_NEAR(trainer.step(), step.expected.loss, 1e-4 * step.expected.loss);
  step.tuned = trainer.attached().snapshot();
  EXPECT_TRUE(step.tuned.of(kTextEncoder).empty() || method == "orthogonal_adaptation");
  return step;
}

TEST(FullForm, OfCustomDiffusionMovesKeysAndValuesOfCrossAttentionByTheGradient) {
  const auto [tuned, expected] = step_of("custom_diffusion", is_cross_kv);
  ASSERT_EQ(tuned.of(kUNet).size(), expected.gradients.size());
  ASSERT_EQ(tuned.of(kUNet).size(), 2 * tiny_model().unet->cross_attentions().size());
  for (const auto& [layer, update] : tuned.of(kUNet)) {
    expect_near(update.dense()->parts.at(LoraPart::kDifference),
                -kRate * expected.gradients.at(layer), layer);
  }
  ASSERT_EQ(tuned.words.size(), 1U);  // the first of the folder's two; the class word stays plain
  EXPECT_EQ(tuned.words[0].word, "<fox1>");
}

TEST(FullForm, OfDreamBoothMovesEveryLayerAndBiasOfTheUnet) {
  const auto [tuned, expected] = step_of("dreambooth", is_any);
  ASSERT_EQ(tuned.of(kUNet).size(), expected.gradients.size());
  EXPECT_TRUE(tuned.words.empty());
  for (const auto& [layer, update] : tuned.of(kUNet)) {
    const auto& gradient = expected.gradients.at(layer);
    if (!gradient.defined()) continue;
    expect_near(update.dense()->parts.at(LoraPart::kDifference), -kRate * gradient, layer);
    if (!update.dense()->has(LoraPart::kBiasDifference)) continue;
    expect_near(update.bias_difference(), -kRate * expected.bias_gradients.at(layer), layer);
  }
}

TEST(SpectralForm, MovesSingularValuesByTheGradientBetweenTheirVectors) {
  const auto [tuned, expected] = step_of("svdiff", is_any);
  ASSERT_EQ(tuned.of(kUNet).size(), expected.gradients.size());
  for (const auto& [layer, update] : tuned.of(kUNet)) {
    const auto weight = expected.weights.at(layer).to(torch::kFloat64);
    const auto gradient = expected.gradients.at(layer);
    if (!gradient.defined()) continue;
    const auto [u, s, v] = torch::linalg_svd(weight.flatten(1), false);
    const auto of_values =
        torch::einsum("oi,or,ri->r", {gradient.to(torch::kFloat64).flatten(1), u, v});
    const auto shift = (-kRate * of_values).to(torch::kFloat32);
    expect_near(update.dense()->parts.at(LoraPart::kSpectralShift), shift, layer);
    const auto moved = torch::matmul(u * torch::relu(s - kRate * of_values), v);
    expect_near(update.apply_to(expected.weights.at(layer)), moved.to(torch::kFloat32),
                layer + " as a weight");
  }
}

TEST(NeuronForm, SilencesTheEntriesWhoseWeightTimesGradientIsLarge) {
  constexpr double kThreshold = 1e-3;
  const auto [tuned, expected] = step_of(
      "cones", is_kv, [](TuneOptions& options) { options.weights.neuron_threshold = kThreshold; });
  std::int64_t neurons = 0, entries = 0;
  for (const auto& [layer, gradient] : expected.gradients) {
    const auto wanted = (expected.weights.at(layer) * gradient).flatten() >= kThreshold;
    const auto found = tuned.of(kUNet).find(layer);
    auto silenced = torch::zeros({wanted.numel()}, torch::kBool);
    if (found != tuned.of(kUNet).end()) {
      const auto& weight = expected.weights.at(layer);
      const auto after = found->second.apply_to(weight).flatten();
      silenced = after == 0;
      EXPECT_TRUE(after.index({~silenced}).equal(weight.flatten().index({~silenced})));
    }
    const auto other = (silenced != wanted).sum().item<std::int64_t>();  // at the threshold itself
    EXPECT_LE(other, 1) << layer;
    neurons += wanted.sum().item<std::int64_t>();
    entries += wanted.numel();
  }
  EXPECT_GT(neurons, 10);
  EXPECT_LT(neurons, entries / 2);
}

TEST(OrthogonalForm, MovesUpAloneByTheGradientOnHalfRowsOfTheBasis) {
  const auto is_attention = [](const std::string& layer) {
    return layer.find(".attn1.") != layer.npos || layer.find(".attn2.") != layer.npos;
  };
  const auto [tuned, expected] = step_of("orthogonal_adaptation", is_attention);
  ASSERT_EQ(tuned.of(kUNet).size(), expected.gradients.size());
  for (const auto& [layer, update] : tuned.of(kUNet)) {
    const auto& pair = update.low_rank();
    const auto rows = 2.0 * pair.down;
    EXPECT_TRUE(torch::allclose(torch::matmul(rows, rows.t()), torch::eye(4), 0, 1e-5)) << layer;
    expect_near(pair.up, -kRate * torch::matmul(expected.gradients.at(layer), pair.down.t()),
                layer);
  }
}

TEST(OrthogonalForm, GivesConceptsOfOtherWordsOtherRowsOfTheSameBasis) {
  const auto base = tiny_model();
  const auto start_of = [&](const std::string& word) {
    auto options = tiny_method("orthogonal_adaptation");
    options.words.words = {word};
    options.weights.rank = 2;
    const auto complete = mos::tune::complete_options(options, tiny_dataset());
    return mos::tune::start_values(base, complete);
  };
  const auto fox = start_of("<fox>"), again = start_of("<fox>"), owl = start_of("<owl>");
  int orthogonal = 0;
  for (const auto& [layer, update] : fox.of(kUNet)) {
    const auto& down = update.low_rank().down;
    EXPECT_TRUE(down.equal(again.of(kUNet).at(layer).low_rank().down));
    // Rows of one basis are the same or at right angles: all products are 1 or 0.
    const auto products = 4.0 * torch::matmul(down, owl.of(kUNet).at(layer).low_rank().down.t());
    EXPECT_TRUE(torch::allclose(products, products.round(), 0, 1e-5)) << layer;
    orthogonal += products.abs().max().item<double>() < 0.5 ? 1 : 0;
  }
  EXPECT_GT(orthogonal, static_cast<int>(fox.of(kUNet).size()) / 2);
}

TEST(FirstTokenStop, IsPlainAttentionWithoutThatTokensPartOfTheGradient) {
  auto generator = mos::seeded_generator(3);
  mos::nn::Attention attention(
      mos::nn::AttentionSize{.query_dim = 6, .heads = 1, .head_dim = 6, .cross_attention_dim = 4});
  {
    torch::NoGradGuard no_grad;
    for (auto& weight : attention->parameters())
      weight.copy_(mos::randn(weight.sizes(), generator));
  }
  const auto x = mos::randn({2, 5, 6}, generator), text = mos::randn({2, 3, 4}, generator);
  std::map<std::string, Tensor> w;
  for (auto& item : attention->named_parameters()) w[item.key()] = item.value();
  attention->processor = std::make_shared<mos::tune::FirstTokenStop>();
  const auto stopped = attention(x, text);
  stopped.sum().backward();
  const auto of_key = w["to_k.weight"].grad().clone(), of_value = w["to_v.weight"].grad().clone();

  const auto k = w["to_k.weight"].detach().requires_grad_(),
             v = w["to_v.weight"].detach().requires_grad_();
  const auto project = [&](const Tensor& weight) {
    const auto first = torch::matmul(text.slice(1, 0, 1), weight.detach().t());
    return torch::cat({first, torch::matmul(text.slice(1, 1), weight.t())}, 1);
  };
  const auto q = torch::matmul(x, w["to_q.weight"].t());
  const auto scores =
      torch::softmax(torch::matmul(q, project(k).transpose(1, 2)) / std::sqrt(6.0), -1);
  const auto plain =
      torch::linear(torch::matmul(scores, project(v)), w["to_out.0.weight"], w["to_out.0.bias"]);
  EXPECT_TRUE(torch::allclose(stopped, plain, 1e-4, 1e-4));
  const auto expected = torch::autograd::grad({plain.sum()}, {k, v});
  EXPECT_TRUE(torch::allclose(of_key, expected[0], 1e-3, 1e-4));
  EXPECT_TRUE(torch::allclose(of_value, expected[1], 1e-3, 1e-4));
}

class EveryForm : public ::testing::TestWithParam<const char*> {
 protected:
  TuneOptions options() {
    auto options = tiny_method(GetParam());
    options.optimiser.unet_rate *= 10;  // some steps shall show
    options.weights.neuron_threshold = 1e-3;
    options.prior.steps = 2;
    return options;
  }
  mos::TempDir folder_;
  mos::diffusion::Model base_ = tiny_model();
};

Tensor prediction(mos::diffusion::Model& model) {
  torch::NoGradGuard no_grad;
  auto generator = mos::seeded_generator(6);
  const auto latents = mos::randn({1, 4, 8, 8}, generator);
  const auto context = mos::randn({1, 24, 16}, generator);
  return model.unet(latents, torch::full({1}, 500, torch::kInt64), context);
}

TEST_P(EveryForm, IsPaintedFromItsFileAsItWasTuned) {
  const auto before = prediction(base_);
  const auto dataset = dataset_with_prior();
  Tensor tuned;
  ConceptDelta delta;
  {
    Trainer trainer(base_, dataset, mos::tune::complete_options(options(), dataset));
    for (int i = 0; i < 3; ++i) trainer.step();
    trainer.attached().show(1.0);
    tuned = prediction(base_);
    delta = trainer.attached().snapshot();
    trainer.attached().show(0.0);
    EXPECT_TRUE(torch::allclose(prediction(base_), before, 1e-5, 1e-5));
  }
  EXPECT_TRUE(prediction(base_).equal(before));  // the networks are as they were
  const double change = (tuned - before).abs().max().item<double>();
  EXPECT_GT(change, 1e-4);

  mos::concepts::save_concept(folder_ / "fox.safetensors", delta);
  const auto read = mos::concepts::load_concept(folder_ / "fox.safetensors");
  ASSERT_EQ(read.of(kUNet).size(), delta.of(kUNet).size());
  auto merged = tiny_model();
  mos::concepts::merge_concept(merged, read, 1.0, "the test");
  EXPECT_LT((prediction(merged) - tuned).abs().max().item<double>(), 1e-2 * change);
  const mos::concepts::ScopedMerge scoped(*base_.unet, read.of(kUNet), 1.0, "the test");
  EXPECT_LT((prediction(base_) - tuned).abs().max().item<double>(), 1e-2 * change);
}

TEST_P(EveryForm, GoesOnFromItsCheckpointToTheSameBits) {
  const auto dataset = tiny_dataset();
  const auto given = options();
  mos::tune::TuneHooks hooks{.prior_folder = folder_ / "prior"};
  const auto whole = mos::tune::tune_concept(base_, dataset, given, hooks);
  mos::CancelToken cancel;
  hooks.cancel = &cancel;
  hooks.checkpoint = folder_ / "run.checkpoint";
  hooks.progress = [&](const mos::Progress& progress) {
    if (progress.stage == "tuning" && progress.step == 1) cancel.cancel();
  };
  EXPECT_THROW(mos::tune::tune_concept(base_, dataset, given, hooks), mos::Error);
  hooks.cancel = nullptr;
  const auto again = mos::tune::tune_concept(base_, dataset, given, hooks);
  mos::concepts::save_concept(folder_ / "a.safetensors", whole);
  mos::concepts::save_concept(folder_ / "b.safetensors", again);
  EXPECT_EQ(mos::read_text_file(folder_ / "a.safetensors"),
            mos::read_text_file(folder_ / "b.safetensors"));
}

TEST_P(EveryForm, HasTheSameGradientInSharesOfABatch) {
  const auto dataset = dataset_with_prior();
  auto given = mos::tune::complete_options(options(), dataset);
  Trainer whole(base_, dataset, given);
  const double loss = whole.step();
  auto other = tiny_model();
  given.optimiser.micro_batch = 1;
  Trainer shared(other, dataset, given);
  EXPECT_NEAR(shared.step(), loss, 1e-5 * loss);
}

INSTANTIATE_TEST_SUITE_P(Methods, EveryForm,
                         ::testing::Values("custom_diffusion", "dreambooth", "svdiff", "cones",
                                           "orthogonal_adaptation"),
                         [](const auto& method) { return std::string(method.param); });

}  // namespace
