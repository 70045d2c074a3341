#include "mos/demo/painter.h"

#include <utility>

#include "mos/concepts/lora.h"

namespace mos::demo {

Painter load_painter(const std::filesystem::path& base, torch::ScalarType dtype,
                     const concepts::ConceptDelta* delta) {
  auto model = diffusion::Model::load(base, {.dtype = dtype});
  auto tokens = concepts::known_words(model);
  if (delta != nullptr) {
    tokens.add(delta->words, model.towers);
    concepts::merge_concept(model, *delta, 1.0, "the concept");
  }
  return {std::move(model), std::move(tokens)};
}

torch::Tensor paint(Painter& painter, const std::string& prompt,
                    const region::SampleOptions& options, const CancelToken* cancel) {
  return region::sample_pictures(painter.model, painter.tokens, {.prompt = prompt}, options, {}, {},
                                 cancel);
}

}  // namespace mos::demo
