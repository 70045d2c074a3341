#include "mos/tune/plan.h"

#include <algorithm>
#include <array>
#include <stdexcept>

#include "mos/checkpoint/part.h"

namespace mos::tune {

using checkpoint::Part;

namespace {

template <typename Choice>
struct Named {
  const char* name;
  Choice choice;
};

constexpr auto kRows = std::to_array<Named<WordRows>>(
    {{"per_layer", WordRows::kPerLayer}, {"shared", WordRows::kShared}, {"none", WordRows::kNone}});
constexpr auto kStarts = std::to_array<Named<DownStart>>(
    {{"kaiming", DownStart::kKaiming}, {"gaussian", DownStart::kGaussian}});
constexpr auto kSelectors = std::to_array<Named<Selector>>(
    {{"attention", Selector::kAttention}, {"transformers", Selector::kTransformers}});

template <typename Table>
std::vector<std::string> names_of(const Table& table) {
  std::vector<std::string> names;
  for (const auto& entry : table) names.emplace_back(entry.name);
  return names;
}

template <typename Table>
auto choice_of(const Table& table, const std::string& name) {
  const auto found = std::find_if(table.begin(), table.end(),
                                  [&](const auto& entry) { return name == entry.name; });
  if (found == table.end()) throw std::out_of_range(name);
  return found->choice;
}

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

}  // namespace

std::vector<std::string> word_rows_names() { return names_of(kRows); }
std::vector<std::string> down_start_names() { return names_of(kStarts); }
std::vector<std::string> selector_names() { return names_of(kSelectors); }

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
  return {.rows = choice_of(kRows, options.words.rows),
          .weights = {.where = choice_of(kSelectors, options.weights.where),
                      .rank = options.weights.rank,
                      .scale = options.weights.scale,
                      .start = choice_of(kStarts, options.weights.start)},
          .groups = {{kWordGroup, optimiser.embedding_rate, optimiser.norm_threshold},
                     {folder_of(Part::kTextEncoder), optimiser.text_rate},
                     {folder_of(Part::kUNet), optimiser.unet_rate}},
          .terms = {.density_weight = options.loss.density_weight,
                    .density_bandwidth = options.loss.density_bandwidth},
          .kv_drop = options.weights.kv_drop};
}

}  // namespace mos::tune
