#include "mos/demo/painter.h"

#include <utility>

#include "mos/concepts/lora.h"

namespace mos::demo {

Painter load_painter(const std::filesystem::path& base, torch::ScalarType dtype,
                     const concepts::ConceptDelta* delta) {
  auto model = diffusion::StableDiffusion::load(base, {.dtype = dtype});
  concepts::ConceptTokens tokens(model.unet->cross_attention_count());
  if (delta != nullptr) {
    tokens.add(delta->words, model.tokenizer, model.text_encoder);
    concepts::merge_lora(*model.text_encoder, delta->text_encoder, 1.0, "the concept");
    concepts::merge_lora(*model.unet, delta->unet, 1.0, "the concept");
  }
  return {std::move(model), std::move(tokens)};
}

torch::Tensor paint(Painter& painter, const std::string& prompt,
                    const region::SampleOptions& options, const CancelToken* cancel) {
  return region::sample_pictures(painter.model, painter.tokens, {.prompt = prompt}, options, {}, {},
                                 cancel);
}

}  // namespace mos::demo
