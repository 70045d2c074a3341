#include "mos/tune/attached_concept.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <utility>

#include "mos/base/error.h"
#include "mos/base/random.h"
#include "mos/base/text.h"
#include "mos/concepts/lora.h"
#include "mos/tune/draws.h"
#include "mos/tune/plan.h"

namespace mos::tune {

using checkpoint::Part;
using concepts::ConceptDelta;
using concepts::LayerUpdates;
using concepts::LowRank;
using torch::Tensor;

namespace {

constexpr std::string_view kRandom = "<rand-";

/// σ of "<rand-σ>", or a negative number for anything else.
double random_sigma(const std::string& initializer) {
  if (initializer.rfind(kRandom, 0) != 0 || initializer.back() != '>') return -1;
  const auto inside = std::string_view(initializer).substr(kRandom.size());
  return number_in<double>(inside.substr(0, inside.size() - 1)).value_or(-1);
}

/// [C]: what all rows of a word start from.
Tensor start_row(const diffusion::TextTower& tower, const std::string& initializer,
                 at::Generator& generator) {
  if (const double sigma = random_sigma(initializer); sigma >= 0) {
    return randn({tower.width()}, generator) * sigma;
  }
  const auto ids = tower.tokenizer.encode_words(initializer);
  const bool one_token = ids.size() == 1 && ids[0] != tower.tokenizer.eos_id() &&
                         ids[0] < tower.tokenizer.base_vocab_size();
  if (!one_token) {
    throw Error(ErrorKind::kUsage,
                fmt::format("the initializer \"{}\" is {} tokens, expected one word that is a "
                            "single token of the vocabulary, or <rand-0.013>",
                            initializer, ids.size()));
  }
  auto encoder = tower.encoder;
  return encoder->token_embedding()[ids[0]].detach().to(torch::kCPU, torch::kFloat32).clone();
}

/// [layers,C] for each tower.
concepts::TowerRows start_rows(const diffusion::Model& model, const std::string& initializer,
                               std::int64_t layers, at::Generator& generator) {
  concepts::TowerRows rows;
  for (const auto& tower : model.towers) {
    const auto row = start_row(tower, initializer, generator);
    rows.set(tower.part, row.expand({layers, -1}).clone());
  }
  return rows;
}

Tensor start_down(const WeightPlan& plan, const nn::LoraLayer& layer, at::Generator& generator) {
  auto shape = layer.weight.sizes().vec();
  shape[0] = plan.rank;
  if (plan.start == DownStart::kGaussian) {
    return randn(shape, generator) / static_cast<double>(plan.rank);
  }
  const double bound = 1.0 / std::sqrt(static_cast<double>(layer.in_features()));
  // kaiming_uniform(a = √5), PyTorch's start of a linear layer, which is what the authors leave
  // `down` at.
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
                          // So ΔW is zero at first, and the model what it was.
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

/// Of the rows of a tower, as in a checkpoint.
std::string rows_name(Part part) {
  const std::string name = "new_concept_embedding";
  if (part == Part::kTextEncoder) return name;
  return fmt::format("{}.{}", name, folder_of(part));
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

ConceptDelta start_values(const diffusion::Model& model, const TuneOptions& options) {
  const auto plan = plan_of(options);
  const auto seed = options.run.seed;
  ConceptDelta delta;
  std::uint64_t next_draw = 0;
  // Words first: their draws do not depend on which layers are tuned.
  const auto words = plan.rows == WordRows::kNone ? 0 : options.words.words.size();
  const auto layers = plan.rows == WordRows::kPerLayer ? model.unet->text_slices().count : 1;
  for (std::size_t i = 0; i < words; ++i) {
    auto generator = generator_for(seed, Draw::kStart, next_draw++);
    delta.words.push_back({options.words.words[i],
                           start_rows(model, options.words.initializers.at(i), layers, generator)});
  }
  for (const auto part : model.tuned_parts()) {
    delta.updates[part] = start_pairs(*model.network(part), plan.weights, seed, next_draw);
  }
  return delta;
}

Tensor mean_norm(const TrainedGroup& group) {
  std::vector<Tensor> norms;
  for (const auto& parameter : group.parameters) {
    norms.push_back(parameter.value.detach().flatten(1).norm(2, {-1}));
  }
  return torch::cat(norms).mean();
}

AttachedConcept::AttachedConcept(diffusion::Model model, const ConceptDelta& start)
    : model_(std::move(model)), tokens_(model_.unet->text_slices().count), delta_(start) {
  for (const auto part : model_.tuned_parts()) {
    for (auto& parameter : model_.network(part)->parameters()) parameter.set_requires_grad(false);
  }
  attach_words();
  for (const auto part : model_.tuned_parts()) {
    const std::string name(folder_of(part));
    auto& updates = delta_.updates[part];
    groups_.push_back({name, make_leaves(updates, name, model_.device())});
    concepts::attach_lora(*model_.network(part), updates, 1.0, "the start state");
  }
}

void AttachedConcept::attach_words() {
  for (auto& tower : model_.towers) {
    former_rows_.push_back(tower.encoder->concept_rows());
    // The rows of words that a fused base has stay in the files of that base: a concept is tuned
    // without them.
    tower.encoder->set_concept_rows({});
  }
  tokens_.add(delta_.words, model_.towers);
  std::vector<NamedParameter> rows;
  for (auto& tower : model_.towers) {
    if (delta_.words.empty()) continue;
    // All words of a tower are one leaf, as the optimiser moves them together.
    rows.push_back({rows_name(tower.part), leaf(tower.encoder->concept_rows(), tower.device())});
    tower.encoder->set_concept_rows(rows.back().value);
  }
  groups_.push_back({std::string(kWordGroup), std::move(rows)});
}

AttachedConcept::AttachedConcept(diffusion::Model model, const AttachedConcept& other)
    : AttachedConcept(std::move(model), other.snapshot()) {
  auto own = parameters();
  const auto shared = other.parameters();
  for (std::size_t i = 0; i < own.size(); ++i) {
    // The same memory, so a step of the first one is seen by all; gradients stay apart.
    own[i].value.set_data(shared[i].value.detach());
    own[i].value.set_requires_grad(shared[i].value.requires_grad());
  }
}

AttachedConcept::~AttachedConcept() {
  for (const auto part : model_.tuned_parts()) concepts::detach_lora(*model_.network(part));
  for (std::size_t i = 0; i < model_.towers.size(); ++i) {
    model_.towers[i].encoder->set_concept_rows(former_rows_[i]);
  }
}

nn::Conditioning AttachedConcept::encode(std::span<const std::string> prompts) const {
  return concepts::encode_prompts(tokens_, model_.towers, prompts);
}

void AttachedConcept::set_lora_scale(double scale) {
  for (const auto part : model_.tuned_parts()) {
    concepts::set_lora_scale(*model_.network(part), scale);
  }
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
  for (const auto& [layer, pair] : delta_.of(Part::kUNet)) {
    // attn2 reads the text (diffusers' name of cross-attention).
    if (layer.ends_with(".attn2.to_k") || layer.ends_with(".attn2.to_v")) layers.push_back(layer);
  }
  return layers;
}

void AttachedConcept::switch_off(const std::set<std::string>& unet_layers) {
  const auto& pairs = delta_.of(Part::kUNet);
  nn::for_each_lora_layer(*model_.unet, [&](const std::string& name, nn::LoraLayer& layer) {
    const auto pair = pairs.find(name);
    if (pair == pairs.end()) return;
    layer.lora_scale = unet_layers.contains(name) ? 0.0 : pair->second.low_rank().scale;
  });
}

ConceptDelta AttachedConcept::snapshot() const {
  ConceptDelta copy{.metadata = delta_.metadata};
  std::int64_t from = 0;
  for (const auto& word : delta_.words) {
    const auto count = word.rows.count();
    copy.words.push_back({word.word, {}});
    for (std::size_t i = 0; i < model_.towers.size(); ++i) {
      const auto& all = group(kWordGroup).parameters[i].value;
      // Copies: training may go on while the snapshot is written or painted with.
      copy.words.back().rows.set(model_.towers[i].part,
                                 all.detach().narrow(0, from, count).cpu().clone());
    }
    from += count;
  }
  for (const auto& [part, updates] : delta_.updates) copy.updates[part] = copied(updates);
  return copy;
}

}  // namespace mos::tune
