#include "mos/tune/attached_concept.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <stdexcept>
#include <utility>

#include "mos/base/error.h"
#include "mos/base/random.h"
#include "mos/concepts/lora.h"
#include "mos/tune/draws.h"
#include "mos/tune/plan.h"

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

Tensor start_down(const WeightPlan& plan, const nn::LoraLayer& layer, at::Generator& generator) {
  auto shape = layer.weight.sizes().vec();
  shape[0] = plan.rank;
  if (plan.start == DownStart::kGaussian) {
    return randn(shape, generator) / static_cast<double>(plan.rank);
  }
  const double bound = 1.0 / std::sqrt(static_cast<double>(layer.in_features()));
  return torch::rand(shape, generator, torch::TensorOptions().dtype(torch::kFloat32)) *
             (2 * bound) -
         bound;
}

LayerUpdates start_pairs(torch::nn::Module& model, const WeightPlan& plan, std::uint64_t seed,
                         std::uint64_t& next_draw) {
  LayerUpdates pairs;
  if (plan.rank == 0) return pairs;
  nn::for_each_lora_layer(model, [&](const std::string& name, const nn::LoraLayer& layer) {
    if (!selects(plan.where, name)) return;
    auto generator = generator_for(seed, Draw::kStart, next_draw++);
    auto up_shape = layer.weight.sizes().vec();
    up_shape[1] = plan.rank;
    pairs[name] = LowRank{.down = start_down(plan, layer, generator),
                          .up = torch::zeros(up_shape),
                          .scale = plan.scale};
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
  const auto plan = plan_of(options);
  const auto seed = options.run.seed;
  ConceptDelta delta;
  std::uint64_t next_draw = 0;
  const auto words = plan.rows == WordRows::kNone ? 0 : options.words.words.size();
  const auto layers = plan.rows == WordRows::kPerLayer ? unet->cross_attention_count() : 1;
  for (std::size_t i = 0; i < words; ++i) {
    auto generator = generator_for(seed, Draw::kStart, next_draw++);
    const auto row = start_row(networks, options.words.initializers.at(i), generator);
    delta.words.push_back({options.words.words[i], row.expand({layers, -1}).clone()});
  }
  delta.text_encoder = start_pairs(*text_encoder, plan.weights, seed, next_draw);
  delta.unet = start_pairs(*unet, plan.weights, seed, next_draw);
  return delta;
}

double mean_norm(const TrainedGroup& group) {
  std::vector<Tensor> norms;
  for (const auto& parameter : group.parameters) {
    norms.push_back(parameter.value.detach().flatten(1).norm(2, {-1}));
  }
  return torch::cat(norms).mean().item<double>();
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
  std::vector<NamedParameter> rows;
  if (!delta_.words.empty()) {
    rows.push_back({"new_concept_embedding", leaf(networks_.text_encoder->concept_rows(), device)});
    networks_.text_encoder->set_concept_rows(rows.front().value);
  }
  groups_ = {{std::string(kWordGroup), std::move(rows)},
             {std::string(kTextGroup), make_leaves(delta_.text_encoder, "text_encoder", device)},
             {std::string(kUNetGroup), make_leaves(delta_.unet, "unet", device)}};
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

const TrainedGroup& AttachedConcept::group(std::string_view name) const {
  const auto found = std::find_if(groups_.begin(), groups_.end(),
                                  [&](const TrainedGroup& group) { return group.name == name; });
  if (found == groups_.end()) throw std::out_of_range(std::string(name));
  return *found;
}

std::vector<NamedParameter> AttachedConcept::parameters() const {
  std::vector<NamedParameter> all;
  for (const auto& group : groups_) {
    all.insert(all.end(), group.parameters.begin(), group.parameters.end());
  }
  return all;
}

std::vector<std::string> AttachedConcept::kv_layers() const {
  std::vector<std::string> layers;
  for (const auto& [layer, pair] : delta_.unet) {
    if (layer.ends_with(".attn2.to_k") || layer.ends_with(".attn2.to_v")) layers.push_back(layer);
  }
  return layers;
}

void AttachedConcept::switch_off(const std::set<std::string>& unet_layers) {
  nn::for_each_lora_layer(*networks_.unet, [&](const std::string& name, nn::LoraLayer& layer) {
    const auto pair = delta_.unet.find(name);
    if (pair == delta_.unet.end()) return;
    layer.lora_scale = unet_layers.contains(name) ? 0.0 : pair->second.low_rank().scale;
  });
}

ConceptDelta AttachedConcept::snapshot() const {
  ConceptDelta copy{.metadata = delta_.metadata};
  std::int64_t from = 0;
  for (const auto& word : delta_.words) {
    const auto count = word.rows.size(0);
    const auto& all_rows = group(kWordGroup).parameters.front().value;
    const auto rows = all_rows.detach().narrow(0, from, count).cpu().clone();
    copy.words.push_back({word.word, rows});
    from += count;
  }
  copy.text_encoder = copied(delta_.text_encoder);
  copy.unet = copied(delta_.unet);
  return copy;
}

}  // namespace mos::tune
