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

}  // namespace

bool selects(Selector selector, std::string_view layer) {
  if (selector == Selector::kTransformers) {
    return contains(layer, ".attentions.") || contains(layer, "encoder.layers.");
  }
  return contains(layer, ".self_attn.") || contains(layer, ".attn1.") || contains(layer, ".attn2.");
}

const GroupPlan& TuningPlan::group(std::string_view name) const {
  const auto found = std::find_if(groups.begin(), groups.end(),
                                  [&](const GroupPlan& entry) { return entry.name == name; });
  if (found == groups.end()) throw std::out_of_range(std::string(name));
  return *found;
}

TuningPlan plan_of(const TuneOptions& options) {
  const auto& optimiser = options.optimiser;
  return {.rows = options.words.rows,
          .weights = {.where = options.weights.where,
                      .rank = options.weights.rank,
                      .scale = options.weights.scale,
                      .start = options.weights.start},
          .groups = {{kWordGroup, optimiser.embedding_rate, optimiser.norm_threshold},
                     {folder_of(Part::kTextEncoder), optimiser.text_rate},
                     {folder_of(Part::kUNet), optimiser.unet_rate}},
          .terms = {.density_weight = options.loss.density_weight,
                    .density_bandwidth = options.loss.density_bandwidth},
          .kv_drop = options.weights.kv_drop};
}

}  // namespace mos::tune
