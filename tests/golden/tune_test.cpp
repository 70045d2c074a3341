#include <gmock/gmock.h>

#include <map>
#include <memory>
#include <optional>
#include <sstream>

#include "mos/base/json.h"
#include "mos/base/text.h"
#include "mos/checkpoint/part.h"
#include "mos/concepts/concept_file.h"
#include "mos/concepts/tokens.h"
#include "mos/diffusion/model.h"
#include "mos/io/safetensors.h"
#include "mos/train/adamw.h"
#include "mos/tune/objective.h"
#include "mos/tune/plan.h"
#include "tests/support/golden.h"

namespace {

using enum mos::checkpoint::Part;

using mos::concepts::ConceptDelta;
using mos::concepts::LayerUpdates;
using mos::io::SafetensorsFile;
using mos::tune::AttachedConcept;
using torch::Tensor;

constexpr double kRowRate = 1e-3, kTextRate = 1e-5, kUNetRate = 1e-4;  // of the recorded runs
constexpr std::int64_t kDecaySteps = 10;

struct Case {
  std::string name;
  mos::tune::LossOptions loss;
};

const std::vector<Case>& ed_lora_cases() {
  static const std::vector<Case> cases = {
      {"a_mask", {.attention_weight = 0}},
      {"b_attnreg_full", {.attention_weight = 0.01, .full_identity = true}},
      {"c_attnreg_notfull", {.attention_weight = 0.01}},
      {"d_imgmask", {.mask_loss = false, .attention_weight = 0}}};
  return cases;
}

std::vector<std::string> split(const std::string& text, char at) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, at);) parts.push_back(part);
  return parts;
}

bool has_prefix(const std::string& text, const std::string& prefix) {
  return text.rfind(prefix, 0) == 0;
}

/// Adds one tensor of a flattened `delta_state_dict` to `updates`.
void add_factor(LayerUpdates& updates, const std::string& key, const Tensor& value) {
  const auto dot = key.find(".lora_");
  auto& pair = updates[key.substr(0, dot)].low_rank();
  (key.find("lora_down", dot) != std::string::npos ? pair.down : pair.up) = value.clone();
}

/// The state below `prefix` in the file.
ConceptDelta read_delta(const SafetensorsFile& file, const std::string& prefix) {
  ConceptDelta delta;
  for (const auto& word : split(file.metadata().at("new_concept_token"), '+')) {
    delta.words.push_back({word, file.get(prefix + "new_concept_embedding/" + word).clone()});
  }
  for (const auto& tensor : file.tensors()) {
    for (const auto part : mos::checkpoint::kTunedParts) {
      const auto start = fmt::format("{}{}/", prefix, folder_of(part));
      if (has_prefix(tensor.name, start)) {
        add_factor(delta.updates[part], tensor.name.substr(start.size()), file.get(tensor.name));
      }
    }
  }
  return delta;
}

class GoldenTune : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string data = "edlora_train.safetensors";
    const auto why = mos::golden::missing(mos::golden::model_and({data}));
    if (!why.empty()) GTEST_SKIP() << why;
    file_.emplace(*mos::golden::find(data));
    base_ = mos::diffusion::Model::load(*mos::golden::find("tiny_sd"));
    schedule_.emplace(base_.schedule);
  }

  std::vector<std::string> prompts(const std::string& key) const {
    return mos::parse_json(file_->metadata().at(key), key).get<std::vector<std::string>>();
  }

  double noise_offset() const { return std::stod(file_->metadata().at("noise_offset")); }

  mos::tune::TuneBatch batch(const std::string& prompts_key, double offset) const {
    mos::tune::TuneBatch batch;
    batch.latents = file_->get("in.latents");
    batch.noise = file_->get("in.noise") + offset * file_->get("in.offset_noise");
    batch.timesteps = file_->get("in.timesteps");
    batch.prompts = prompts(prompts_key);
    batch.picture_masks = file_->get("in.img_masks");
    batch.subject_masks = file_->get("in.masks");
    batch.has_subject.assign(batch.prompts.size(), true);
    return batch;
  }

  std::unique_ptr<AttachedConcept> attach(const std::string& prefix) {
    return std::make_unique<AttachedConcept>(base_, read_delta(*file_, prefix));
  }

  Tensor loss_of(AttachedConcept& attached, const mos::tune::TuneBatch& batch,
                 const mos::tune::LossOptions& options) {
    const auto text = attached.encode(batch.prompts);
    const auto terms = mos::tune::tuning_terms(attached, *schedule_, batch, text, options);
    return terms.denoising + mos::tune::weighted_attention_loss(terms.attention, options);
  }

  /// |actual − expected| against 20 floors of float32 relative to the largest value.
  void expect_close(const Tensor& actual, const std::string& key) const {
    const auto expected = file_->get(key);
    const double largest = expected.abs().max().item<double>();
    EXPECT_LE(mos::golden::max_abs_difference(actual.view(expected.sizes()), expected),
              mos::golden::tolerance(key, kRelativeFloor * largest) + 1e-9)
        << key << ", largest value " << largest;
  }

  void expect_loss_and_gradients(AttachedConcept& attached, const Tensor& loss,
                                 const std::string& prefix) {
    expect_close(loss.detach(), prefix + "loss");
    std::size_t compared = 0;
    for (const auto part : mos::checkpoint::kTunedParts) {
      for (const auto& parameter : attached.group(folder_of(part)).parameters) {
        const auto key = prefix + "grad/" + parameter.name;
        if (!file_->contains(key)) continue;
        expect_close(parameter.value.grad(), key);
        ++compared;
      }
    }
    EXPECT_GT(compared, 0U);

    const auto ids = file_->get(prefix + "emb_grad_rows");
    const auto ordinary = base_.towers[0].encoder->token_embedding().grad();
    const auto all = torch::cat(
        {ordinary, attached.group(mos::tune::kWordGroup).parameters.front().value.grad()});
    expect_close(all.index_select(0, ids), prefix + "emb_grad");
    EXPECT_EQ((all.abs().sum(1) != 0).sum().item<std::int64_t>(), ids.numel()) << prefix;
  }

  void check_loss_and_gradients(const std::string& name, const std::string& start,
                                const mos::tune::TuneBatch& batch,
                                const mos::tune::LossOptions& options) {
    const auto attached = attach(start);
    watch_ordinary_words();
    const auto loss = loss_of(*attached, batch, options);
    loss.backward();
    expect_loss_and_gradients(*attached, loss, name + "/");
  }

  /// Their gradients were recorded too, although tuning leaves them alone.
  void watch_ordinary_words() {
    auto& table = base_.towers[0].encoder->token_embedding();
    table.set_requires_grad(true);
    table.mutable_grad().reset();
  }

  static constexpr double kRelativeFloor = 2e-6;

  std::optional<SafetensorsFile> file_;
  mos::diffusion::Model base_;
  std::optional<mos::diffusion::NoiseSchedule> schedule_;
};

TEST_F(GoldenTune, StartStateIsThatOfTheAuthorsFile) {
  const auto path = mos::golden::find("edlora_init.pth");
  if (!path) GTEST_SKIP() << "not there: edlora_init.pth";
  const auto expected = read_delta(*file_, "init/");
  const auto read = mos::concepts::load_concept(*path);
  ASSERT_EQ(read.words.size(), expected.words.size());
  for (const auto& word : read.words) {
    EXPECT_TRUE(word.rows.first().equal(file_->get("init/new_concept_embedding/" + word.word)));
  }
  ASSERT_EQ(read.of(kUNet).size(), expected.of(kUNet).size());
  for (const auto& [layer, update] : read.of(kUNet)) {
    EXPECT_TRUE(update.low_rank().down.equal(expected.of(kUNet).at(layer).low_rank().down))
        << layer;
  }
}

TEST_F(GoldenTune, LoraSitsOnTheLayersOfTheReference) {
  mos::tune::TuneOptions options;
  options.words.words = split(file_->metadata().at("new_concept_token"), '+');
  options.words.initializers = split(file_->metadata().at("initializer_token"), '+');
  options.weights.rank = std::stoll(file_->metadata().at("rank"));
  const auto start = mos::tune::start_values(base_, options);
  const auto expected = read_delta(*file_, "init/");
  for (const auto part : mos::checkpoint::kTunedParts) {
    ASSERT_EQ(start.of(part).size(), expected.of(part).size());
    for (const auto& [layer, update] : expected.of(part)) {
      ASSERT_TRUE(start.of(part).contains(layer)) << layer;
      const auto& started = start.of(part).at(layer).low_rank();
      EXPECT_EQ(started.down.sizes(), update.low_rank().down.sizes()) << layer;
      EXPECT_EQ(started.up.sizes(), update.low_rank().up.sizes()) << layer;
    }
  }
  ASSERT_EQ(start.words.size(), expected.words.size());
  for (std::size_t i = 0; i < start.words.size(); ++i) {
    EXPECT_EQ(start.words[i].rows.first().sizes(), expected.words[i].rows.first().sizes());
  }
}

TEST_F(GoldenTune, PromptsBecomeTheReferencesTokens) {
  const auto attached = attach("init/");
  std::vector<mos::text::PiecedText> bound;
  for (const auto& prompt : prompts("prompts")) {
    for (auto& text : attached->tokens().bind(prompt)) bound.push_back(std::move(text));
  }
  EXPECT_TRUE(mos::diffusion::token_ids(attached->tokenizer(), bound)
                  .equal(file_->get("in.bound_input_ids")));
}

TEST_F(GoldenTune, NoisyLatentsAndTextStatesAreTheReferences) {
  const auto inputs = batch("prompts", noise_offset());
  expect_close(schedule_->add_noise(inputs.latents, inputs.noise, inputs.timesteps),
               "in.noisy_latents");
  const auto attached = attach("init/");
  const auto text = attached->encode(inputs.prompts);
  expect_close(text.context[0].detach(), "in.encoder_hidden_states_item0");
}

TEST_F(GoldenTune, LossAndGradientsOfEdLora) {
  for (const auto& [name, options] : ed_lora_cases()) {
    // Cases with recorded steps have their gradients compared in the first of them, below.
    if (!file_->contains(name + "/loss") || file_->contains(name + "/losses4")) continue;
    check_loss_and_gradients(name, "init/", batch("prompts", noise_offset()), options);
  }
}

TEST_F(GoldenTune, LossAndGradientsOfPlainLora) {
  if (!file_->contains("plainlora/loss"))
    GTEST_SKIP() << "not there: plainlora of edlora_train.safetensors";
  auto recorded = batch("plainlora_prompts", 0.0);
  // The reference's prompts have the names of its tokens in them, which no text can name here.
  const auto words = mos::Json::parse(file_->metadata().at("plainlora_concept_cfg"));
  for (const auto& [word, entry] : words.items()) {
    const auto token = entry.at("concept_token_names").at(0).get<std::string>();
    for (auto& prompt : recorded.prompts) prompt = mos::replaced(prompt, token, word);
  }
  // The recorded run has no noise offset and the attention loss of b_attnreg_full.
  check_loss_and_gradients("plainlora", "plainlora/init/", recorded,
                           {.attention_weight = 0.01, .full_identity = true});
}

/// Rate of the group that a key of a concept file belongs to.
double rate_of(const std::string& key) {
  if (has_prefix(key, "new_concept_embedding/")) return kRowRate;
  return has_prefix(key, "text_encoder/") ? kTextRate : kUNetRate;
}

/// Every tensor of a concept under its key in a file.
std::map<std::string, Tensor> flattened(const ConceptDelta& delta) {
  std::map<std::string, Tensor> flat;
  for (const auto& word : delta.words)
    flat["new_concept_embedding/" + word.word] = word.rows.first();
  for (const auto& [part, updates] : delta.updates) {
    for (const auto& [layer, update] : updates) {
      const auto name = fmt::format("{}/{}", folder_of(part), layer);
      flat[name + ".lora_down.weight"] = update.low_rank().down;
      flat[name + ".lora_up.weight"] = update.low_rank().up;
    }
  }
  return flat;
}

/// Adam moves every entry by about its rate whatever the size of the gradient, so an entry whose
/// gradient is rounding noise may go either way: nearly all entries must agree to a hundredth of
/// the rate and none may be further off than `steps` moves there and back.
void expect_same_values(const SafetensorsFile& file, const std::string& prefix,
                        const ConceptDelta& delta, double steps) {
  constexpr double kAgreeing = 0.98;
  for (const auto& [key, value] : flattened(delta)) {
    if (!file.contains(prefix + key)) continue;
    const auto difference = (value - file.get(prefix + key)).abs();
    const double rate = rate_of(key);
    EXPECT_LE(difference.max().item<double>(), 2 * steps * rate) << prefix << key;
    const auto agreeing = (difference <= 0.01 * rate * steps).to(torch::kFloat64).mean();
    EXPECT_GE(agreeing.item<double>(), kAgreeing) << prefix << key;
  }
}

TEST_F(GoldenTune, GradientsAndOptimiserStepsOfEdLora) {
  for (const auto& [name, options] : ed_lora_cases()) {
    if (!file_->contains(name + "/losses4")) continue;
    const auto attached = attach("init/");
    watch_ordinary_words();
    const auto& words = attached->group(mos::tune::kWordGroup);
    const auto& text = attached->group(folder_of(kTextEncoder));
    const auto& unet = attached->group(folder_of(kUNet));
    mos::train::AdamW optimiser(
        {{words.parameters, kRowRate}, {text.parameters, kTextRate}, {unet.parameters, kUNetRate}},
        {.beta1 = 0.9, .beta2 = 0.999, .weight_decay = 0.01});
    const auto losses = file_->get(name + "/losses4");
    const auto norms = file_->get(name + "/norm_mean4");
    const auto inputs = batch("prompts", noise_offset());
    const auto steps = losses.numel();
    for (std::int64_t i = 0; i < steps; ++i) {
      const auto loss = loss_of(*attached, inputs, options);
      const double expected = losses[i].item<double>();
      EXPECT_NEAR(loss.item<double>(), expected, 1e-4 * expected) << name << " step " << i;
      loss.backward();
      if (i == 0) expect_loss_and_gradients(*attached, loss, name + "/");
      optimiser.step(1.0 - static_cast<double>(i) / kDecaySteps);
      EXPECT_NEAR(mos::tune::mean_norm(words).item<double>(), norms[i].item<double>(), 1e-4)
          << name << " " << i;
      if (i == 0) expect_same_values(*file_, name + "/step1/", attached->snapshot(), 1);
    }
    expect_same_values(*file_, name + "/step4/", attached->snapshot(), 4);
  }
}

}  // namespace
