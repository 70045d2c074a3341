#include "mos/concepts/concept_delta.h"

namespace mos::concepts {

torch::Tensor TowerRows::of(checkpoint::Part part) const {
  const auto found = by_part_.find(part);
  return found == by_part_.end() ? torch::Tensor() : found->second;
}

TowerRows TowerRows::changed(
    const std::function<torch::Tensor(const torch::Tensor&)>& change) const {
  TowerRows result;
  for (const auto& [part, rows] : by_part_) result.set(part, change(rows));
  return result;
}

std::string ConceptDelta::phrase() const {
  std::string text;
  for (const auto& word : words) text += (text.empty() ? "" : " ") + word.word;
  return text;
}

const LayerUpdates& ConceptDelta::of(checkpoint::Part part) const {
  static const LayerUpdates none;
  const auto found = updates.find(part);
  return found == updates.end() ? none : found->second;
}

std::size_t ConceptDelta::layer_count() const {
  std::size_t count = 0;
  for (const auto& [part, layers] : updates) count += layers.size();
  return count;
}

}  // namespace mos::concepts
