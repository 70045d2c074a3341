#include "mos/tune/attached_concept.h"

#include <fmt/core.h>

#include <cmath>
#include <cstdlib>
#include <string_view>
#include <utility>

#include "mos/base/error.h"
#include "mos/base/random.h"
#include "mos/concepts/lora.h"
#include "mos/tune/draws.h"

namespace mos::tune {

using concepts::ConceptDelta;
using concepts::LayerUpdates;
using concepts::LowRank;
using torch::Tensor;

namespace {

constexpr std::string_view kRandom = "<rand-";

/// σ of "<rand-σ>", or a negative number for anything else.
double random_sigma(const std::string& initializer) {
  if (initializer.rfind(kRandom, 0) != 0 || initializer.back() != '>') return -1;
  const auto number = initializer.substr(kRandom.size(), initializer.size() - kRandom.size() - 1);
  char* end = nullptr;
  const double sigma = std::strtod(number.c_str(), &end);
  return !number.empty() && *end == '\0' && sigma >= 0 ? sigma : -1;
}

/// [C]: what all rows of a word start from.
Tensor start_row(const TunedNetworks& networks, const std::string& initializer,
                 at::Generator& generator) {
  auto text_encoder = networks.text_encoder;
  const auto& table = text_encoder->token_embedding();
  if (const double sigma = random_sigma(initializer); sigma >= 0) {
    return randn({table.size(1)}, generator) * sigma;
  }
  const auto ids = networks.tokenizer.encode_words(initializer);
  const bool one_token = ids.size() == 1 && ids[0] != networks.tokenizer.eos_id() &&
                         ids[0] < networks.tokenizer.base_vocab_size();
  if (!one_token) {
    throw Error(ErrorKind::kUsage,
                fmt::format("the initializer \"{}\" is {} tokens, expected one word that is a "
                            "single token of the vocabulary, or <rand-0.013>",
                            initializer, ids.size()));
  }
  return table[ids[0]].detach().to(torch::kCPU, torch::kFloat32).clone();
}

bool contains(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

/// The layers that get LoRA: every attention projection, or everything linear around it.
bool is_tuned(const std::string& layer, bool all) {
  if (all) return contains(layer, ".attentions.") || contains(layer, "encoder.layers.");
  return contains(layer, ".self_attn.") || contains(layer, ".attn1.") || contains(layer, ".attn2.");
}

/// Kaiming-uniform with a = √5: bounds ±1/√I.
Tensor start_down(std::int64_t rank, const nn::LoraLayer& layer, at::Generator& generator) {
  const double bound = 1.0 / std::sqrt(static_cast<double>(layer.in_features()));
  auto shape = layer.weight.sizes().vec();
  shape[0] = rank;
  return torch::rand(shape, generator, torch::TensorOptions().dtype(torch::kFloat32)) *
             (2 * bound) -
         bound;
}

LayerUpdates start_pairs(torch::nn::Module& model, const TuneOptions& options,
                         std::uint64_t& next_draw) {
  LayerUpdates pairs;
  if (options.lora.rank == 0) return pairs;
  nn::for_each_lora_layer(model, [&](const std::string& name, const nn::LoraLayer& layer) {
    if (!is_tuned(name, options.lora.where == "all")) return;
    auto generator = generator_for(options.run.seed, Draw::kStart, next_draw++);
    auto up_shape = layer.weight.sizes().vec();
    up_shape[1] = options.lora.rank;
    pairs[name] = LowRank{.down = start_down(options.lora.rank, layer, generator),
                          .up = torch::zeros(up_shape),
                          .scale = options.lora.scale};
  });
  return pairs;
}

Tensor leaf(const Tensor& value, torch::Device device) {
  return value.detach()
      .to(device, torch::kFloat32, /*non_blocking=*/false, /*copy=*/true)
      .requires_grad_(true);
}

/// Makes leaves of all factors, in the shape of their layer, and names them.
std::vector<NamedParameter> make_leaves(LayerUpdates& updates, const std::string& part,
                                        torch::Device device) {
  std::vector<NamedParameter> parameters;
  for (auto& [layer, update] : updates) {
    auto& pair = update.low_rank();
    pair.down = leaf(pair.down, device);
    pair.up = leaf(pair.up, device);
    parameters.push_back({fmt::format("{}/{}.lora_down.weight", part, layer), pair.down});
    parameters.push_back({fmt::format("{}/{}.lora_up.weight", part, layer), pair.up});
  }
  return parameters;
}

LayerUpdates copied(const LayerUpdates& updates) {
  LayerUpdates copy;
  for (const auto& [layer, update] : updates) {
    const auto& pair = update.low_rank();
    copy[layer] = LowRank{.down = pair.down.detach().cpu().clone(),
                          .up = pair.up.detach().cpu().clone(),
                          .scale = pair.scale};
  }
  return copy;
}

}  // namespace

ConceptDelta start_values(const TunedNetworks& networks, const TuneOptions& options) {
  auto text_encoder = networks.text_encoder;
  auto unet = networks.unet;
  ConceptDelta delta;
  std::uint64_t next_draw = 0;
  const auto layers = options.words.kind == "ed_lora" ? unet->cross_attention_count() : 1;
  for (std::size_t i = 0; i < options.words.words.size(); ++i) {
    auto generator = generator_for(options.run.seed, Draw::kStart, next_draw++);
    const auto row = start_row(networks, options.words.initializers.at(i), generator);
    delta.words.push_back({options.words.words[i], row.expand({layers, -1}).clone()});
  }
  delta.text_encoder = start_pairs(*text_encoder, options, next_draw);
  delta.unet = start_pairs(*unet, options, next_draw);
  return delta;
}

AttachedConcept::AttachedConcept(TunedNetworks networks, const ConceptDelta& start)
    : networks_(std::move(networks)),
      former_rows_(networks_.text_encoder->concept_rows()),
      tokens_(networks_.unet->cross_attention_count()),
      delta_(start) {
  for (auto& parameter : networks_.text_encoder->parameters()) parameter.set_requires_grad(false);
  for (auto& parameter : networks_.unet->parameters()) parameter.set_requires_grad(false);

  const auto device = networks_.text_encoder->token_embedding().device();
  networks_.text_encoder->set_concept_rows({});
  tokens_.add(delta_.words, networks_.tokenizer, networks_.text_encoder);
  if (!delta_.words.empty()) {
    const auto rows = leaf(networks_.text_encoder->concept_rows(), device);
    networks_.text_encoder->set_concept_rows(rows);
    rows_.push_back({"new_concept_embedding", rows});
  }
  text_lora_ = make_leaves(delta_.text_encoder, "text_encoder", device);
  unet_lora_ = make_leaves(delta_.unet, "unet", device);
  concepts::attach_lora(*networks_.text_encoder, delta_.text_encoder, 1.0, "the start state");
  concepts::attach_lora(*networks_.unet, delta_.unet, 1.0, "the start state");
}

AttachedConcept::AttachedConcept(TunedNetworks networks, const AttachedConcept& other)
    : AttachedConcept(std::move(networks), other.snapshot()) {
  auto own = parameters();
  const auto shared = other.parameters();
  for (std::size_t i = 0; i < own.size(); ++i) {
    own[i].value.set_data(shared[i].value.detach());
    own[i].value.set_requires_grad(shared[i].value.requires_grad());
  }
}

AttachedConcept::~AttachedConcept() {
  concepts::detach_lora(*networks_.text_encoder);
  concepts::detach_lora(*networks_.unet);
  networks_.text_encoder->set_concept_rows(former_rows_);
}

std::vector<NamedParameter> AttachedConcept::parameters() const {
  auto all = rows_;
  all.insert(all.end(), text_lora_.begin(), text_lora_.end());
  all.insert(all.end(), unet_lora_.begin(), unet_lora_.end());
  return all;
}

ConceptDelta AttachedConcept::snapshot() const {
  ConceptDelta copy{.metadata = delta_.metadata};
  std::int64_t from = 0;
  for (const auto& word : delta_.words) {
    const auto count = word.rows.size(0);
    const auto rows = rows_.front().value.detach().narrow(0, from, count).cpu().clone();
    copy.words.push_back({word.word, rows});
    from += count;
  }
  copy.text_encoder = copied(delta_.text_encoder);
  copy.unet = copied(delta_.unet);
  return copy;
}

double AttachedConcept::mean_row_norm() const {
  if (rows_.empty()) return 0.0;
  return rows_.front().value.detach().norm(2, {-1}).mean().item<double>();
}

}  // namespace mos::tune
