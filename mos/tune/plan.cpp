#include "mos/tune/plan.h"

#include <algorithm>
#include <stdexcept>

#include "mos/checkpoint/part.h"

namespace mos::tune {

using checkpoint::Part;

namespace {

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

/// FNV-1a of the words, so that two concepts tuned with one seed draw other rows of a basis.
std::uint64_t concept_id(const TuneOptions& options) {
  std::uint64_t hash = 0xcbf29ce484222325ULL ^ options.run.seed;
  for (const auto& word : options.words.words) {
    for (const unsigned char letter : word + " ") hash = (hash ^ letter) * 0x100000001b3ULL;
  }
  return hash;
}

}  // namespace

bool selects(Selector selector, std::string_view layer) {
  const bool is_kv = layer.ends_with(".to_k") || layer.ends_with(".to_v");
  switch (selector) {
    case Selector::kAll:
      return true;
    case Selector::kTransformers:
      return contains(layer, ".attentions.") || contains(layer, "encoder.layers.");
    case Selector::kCrossKv:
      return is_kv && contains(layer, ".attn2.");
    case Selector::kKv:
      return is_kv;
    case Selector::kAttention:
      break;
  }
  return contains(layer, ".self_attn.") || contains(layer, ".attn1.") || contains(layer, ".attn2.");
}

const GroupPlan& TuningPlan::group(std::string_view name) const {
  const auto found = std::find_if(groups.begin(), groups.end(),
                                  [&](const GroupPlan& entry) { return entry.name == name; });
  if (found == groups.end()) throw std::out_of_range(std::string(name));
  return *found;
}

bool TuningPlan::changes(Part part) const {
  if (weights.form == WeightForm::kLowRank) return weights.rank > 0;
  return group(folder_of(part)).rate > 0;
}

TuningPlan plan_of(const TuneOptions& options) {
  const auto& optimiser = options.optimiser;
  return {.rows = options.words.rows,
          .weights = {.form = options.weights.form,
                      .where = options.weights.where,
                      .rank = options.weights.rank,
                      .scale = options.weights.scale,
                      .start = options.weights.start,
                      .basis_seed = options.weights.basis_seed,
                      .concept_id = concept_id(options),
                      .silent_gate = options.weights.neuron_threshold * optimiser.unet_rate},
          .groups = {{kWordGroup, optimiser.embedding_rate, optimiser.norm_threshold},
                     {folder_of(Part::kTextEncoder), optimiser.text_rate},
                     {folder_of(Part::kUNet), optimiser.unet_rate}},
          .terms = {.density_weight = options.loss.density_weight,
                    .density_bandwidth = options.loss.density_bandwidth},
          .kv_drop = options.weights.kv_drop,
          .lora_drop = options.weights.lora_drop};
}

}  // namespace mos::tune
