#include "mos/concepts/concept_delta.h"

namespace mos::concepts {

std::string ConceptDelta::phrase() const {
  std::string text;
  for (const auto& word : words) text += (text.empty() ? "" : " ") + word.word;
  return text;
}

}  // namespace mos::concepts
