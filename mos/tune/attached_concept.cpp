#include "mos/tune/attached_concept.h"

#include <fmt/core.h>

#include <algorithm>
#include <optional>
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
using torch::Tensor;

namespace {

constexpr std::string_view kRandom = "<rand-";

/// σ of "<rand-σ>", or a negative number for anything else.
double random_sigma(const std::string& initializer) {
  if (initializer.rfind(kRandom, 0) != 0 || initializer.back() != '>') return -1;
  const auto inside = std::string_view(initializer).substr(kRandom.size());
  return number_in<double>(inside.substr(0, inside.size() - 1)).value_or(-1);
}

/// The token of the base vocabulary that `word` is, or is called there: "ktn" is a piece of words,
/// two tokens as a text, and what Custom Diffusion starts from.
std::optional<std::int64_t> base_token(const text::CLIPTokenizer& tokenizer,
                                       const std::string& word) {
  const auto is_usable = [&](std::int64_t id) {
    return id != tokenizer.eos_id() && id < tokenizer.base_vocab_size();
  };
  const auto ids = tokenizer.encode_words(word);
  if (ids.size() == 1 && is_usable(ids[0])) return ids[0];
  const auto named = tokenizer.token_id(word);
  return named && is_usable(*named) ? named : std::nullopt;
}

/// The token that a word starts from. Throws kUsage where `initializer` is none.
std::int64_t start_token(const text::CLIPTokenizer& tokenizer, const std::string& initializer) {
  if (const auto token = base_token(tokenizer, initializer)) return *token;
  throw Error(ErrorKind::kUsage,
              fmt::format("the initializer \"{}\" is {} tokens, expected one word that is a "
                          "single token of the vocabulary, or <rand-0.013>; name another with "
                          "--rare-word or --initializers",
                          initializer, tokenizer.encode_words(initializer).size()));
}

/// [C]: what all rows of a word start from.
Tensor start_row(const diffusion::TextTower& tower, const std::string& initializer,
                 at::Generator& generator) {
  if (const double sigma = random_sigma(initializer); sigma >= 0) {
    return randn({tower.width()}, generator) * sigma;
  }
  const auto token = start_token(tower.tokenizer, initializer);
  auto encoder = tower.encoder;
  return encoder->token_embedding()[token].detach().to(torch::kCPU, torch::kFloat32).clone();
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

LayerUpdates start_updates(torch::nn::Module& model, const WeightPlan& plan, std::uint64_t seed,
                           std::uint64_t& next_draw) {
  LayerUpdates updates;
  nn::for_each_lora_layer(model, [&](const std::string& name, const nn::LoraLayer& layer) {
    if (selects(plan.where, name)) updates[name] = start_update(layer, plan, seed, next_draw++);
  });
  return updates;
}

/// Of the rows of a tower, as in a checkpoint.
std::string rows_name(Part part) {
  const std::string name = "new_concept_embedding";
  if (part == Part::kTextEncoder) return name;
  return fmt::format("{}.{}", name, folder_of(part));
}

}  // namespace

void check_initializer(const text::CLIPTokenizer& tokenizer, const std::string& initializer) {
  if (random_sigma(initializer) < 0) (void)start_token(tokenizer, initializer);
}

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
    auto& updates = delta.updates[part];
    if (!plan.changes(part)) continue;
    updates = start_updates(*model.network(part), plan.weights, seed, next_draw);
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

AttachedConcept::AttachedConcept(diffusion::Model model, const ConceptDelta& start,
                                 const WeightPlan& plan)
    : model_(std::move(model)),
      tokens_(model_.unet->text_slices().count),
      metadata_(start.metadata) {
  freeze_networks();
  attach_words(start.words);
  for (const auto part : model_.tuned_parts()) {
    const auto& updates = start.of(part);
    const auto layers = concepts::find_layers(*model_.network(part), updates, "the start state");
    std::size_t i = 0;
    for (const auto& [layer, update] : updates) {
      layers_[part][layer] = train_layer(*layers[i++], update, plan);
    }
    add_group(part);
  }
}

AttachedConcept::AttachedConcept(diffusion::Model model, const AttachedConcept& other)
    : model_(std::move(model)),
      tokens_(model_.unet->text_slices().count),
      metadata_(other.metadata_) {
  freeze_networks();
  attach_words(other.snapshot().words);
  const auto& shared = other.group(kWordGroup).parameters;
  for (std::size_t i = 0; i < shared.size(); ++i) {
    auto& own = groups_.front().parameters[i].value;
    // The same memory, so a step of the first one is seen by all; gradients stay apart.
    own.set_data(shared[i].value.detach());
    own.set_requires_grad(shared[i].value.requires_grad());
  }
  for (const auto part : model_.tuned_parts()) {
    const auto trained = other.layers_.find(part);
    if (trained != other.layers_.end()) replicate(part, trained->second);
    add_group(part);
  }
}

void AttachedConcept::freeze_networks() {
  for (const auto part : model_.tuned_parts()) {
    for (auto& parameter : model_.network(part)->parameters()) parameter.set_requires_grad(false);
  }
}

void AttachedConcept::replicate(Part part, const TrainedLayers& others) {
  nn::for_each_lora_layer(*model_.network(part),
                          [&](const std::string& name, nn::LoraLayer& layer) {
                            const auto other = others.find(name);
                            if (other == others.end()) return;
                            layers_[part][name] = other->second->replica(layer);
                          });
}

/// All that is trained in one network.
void AttachedConcept::add_group(Part part) {
  TrainedGroup group{.name = std::string(folder_of(part))};
  for (const auto& [layer, trained] : layers_[part]) {
    for (auto& leaf : trained->leaves()) {
      group.parameters.push_back(
          {fmt::format("{}/{}.{}", group.name, layer, leaf.name), leaf.value});
    }
  }
  groups_.push_back(std::move(group));
}

void AttachedConcept::attach_words(const std::vector<concepts::ConceptWord>& words) {
  for (auto& tower : model_.towers) {
    former_rows_.push_back(tower.encoder->concept_rows());
    // The rows of words that a fused base has stay in the files of that base: a concept is tuned
    // without them.
    tower.encoder->set_concept_rows({});
  }
  for (const auto& word : words) words_.push_back({word.word, word.rows.count()});
  tokens_.add(words, model_.towers);
  std::vector<NamedParameter> rows;
  for (auto& tower : model_.towers) {
    if (words.empty()) continue;
    // All words of a tower are one leaf, as the optimiser moves them together.
    rows.push_back({rows_name(tower.part),
                    leaf_of(tower.encoder->concept_rows(), tower.encoder->token_embedding())});
    tower.encoder->set_concept_rows(rows.back().value);
  }
  groups_.push_back({std::string(kWordGroup), std::move(rows)});
}

AttachedConcept::~AttachedConcept() {
  layers_.clear();
  for (std::size_t i = 0; i < model_.towers.size(); ++i) {
    model_.towers[i].encoder->set_concept_rows(former_rows_[i]);
  }
}

nn::Conditioning AttachedConcept::encode(std::span<const std::string> prompts) const {
  return concepts::encode_prompts(tokens_, model_.towers, prompts);
}

void AttachedConcept::put_weights() {
  for (const auto& [part, layers] : layers_) {
    for (const auto& [name, layer] : layers) {
      layer->put(off_.contains({part, name}) ? 0.0 : 1.0);
    }
  }
}

void AttachedConcept::show(double scale) {
  for (const auto& [part, layers] : layers_) {
    for (const auto& [name, layer] : layers) layer->show(scale);
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

std::set<AttachedConcept::Layer> AttachedConcept::layers() const {
  std::set<Layer> all;
  for (const auto& [part, layers] : layers_) {
    for (const auto& [name, trained] : layers) all.emplace(part, name);
  }
  return all;
}

std::set<AttachedConcept::Layer> AttachedConcept::kv_layers() const {
  auto kept = layers();
  // attn2 reads the text (diffusers' name of cross-attention).
  std::erase_if(kept, [](const Layer& layer) {
    const auto& [part, name] = layer;
    return part != Part::kUNet || !(name.ends_with(".attn2.to_k") || name.ends_with(".attn2.to_v"));
  });
  return kept;
}

void AttachedConcept::switch_off(std::set<Layer> layers) {
  off_ = std::move(layers);
  put_weights();
}

ConceptDelta AttachedConcept::snapshot() const {
  ConceptDelta copy{.metadata = metadata_};
  std::int64_t from = 0;
  for (const auto& [word, count] : words_) {
    copy.words.push_back({word, {}});
    for (std::size_t i = 0; i < model_.towers.size(); ++i) {
      const auto& all = group(kWordGroup).parameters[i].value;
      // Copies: training may go on while the snapshot is written or painted with.
      copy.words.back().rows.set(model_.towers[i].part,
                                 all.detach().narrow(0, from, count).cpu().clone());
    }
    from += count;
  }
  for (const auto& [part, layers] : layers_) {
    for (const auto& [layer, trained] : layers) {
      if (auto update = trained->update()) copy.updates[part].emplace(layer, *std::move(update));
    }
  }
  return copy;
}

}  // namespace mos::tune
