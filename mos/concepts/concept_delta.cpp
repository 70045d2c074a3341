#include "mos/concepts/concept_delta.h"

namespace mos::concepts {

std::string ConceptDelta::phrase() const {
  std::string text;
  for (const auto& word : words) text += (text.empty() ? "" : " ") + word.word;
  return text;
}

torch::Tensor lora_update(const LoraPair& pair) {
  const auto up = pair.up.to(torch::kFloat32), down = pair.down.to(torch::kFloat32);
  auto shape = down.sizes().vec();
  shape[0] = up.size(0);
  return (up.flatten(1).matmul(down.flatten(1)) * pair.scale).view(shape);
}

}  // namespace mos::concepts
