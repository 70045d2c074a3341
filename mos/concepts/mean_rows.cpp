#include "mos/concepts/mean_rows.h"

#include <array>
#include <string>

#include "mos/base/json.h"
#include "mos/concepts/embedding_file.h"
#include "mos/concepts/lora.h"
#include "mos/concepts/tokens.h"
#include "mos/diffusion/denoise.h"

namespace mos::concepts {

using torch::Tensor;

namespace {

double relative_change(const Tensor& before, const Tensor& after) {
  const auto exact = before.to(torch::kFloat64);
  return ((after.to(torch::kFloat64) - exact).norm() / exact.norm()).item<double>();
}

/// The same words under names that no prompt has yet.
std::vector<ConceptWord> renamed(std::vector<ConceptWord> words) {
  for (auto& word : words) {
    word.word += "(mean)";
    word.alias.clear();
  }
  return words;
}

std::string prompt_of(const std::vector<ConceptWord>& words) {
  return "photo of a " + ConceptDelta{.words = words}.phrase();
}

}  // namespace

ConceptDelta with_mean_rows(const ConceptDelta& delta) {
  auto result = delta;
  for (auto& word : result.words) word = with_mean_rows(word);
  return result;
}

MeanRowChange measure_mean_rows(diffusion::StableDiffusion& base, const ConceptDelta& delta) {
  const torch::NoGradGuard no_grad;
  const std::string origin = "the concept";
  const ScopedMerge in_text(*base.text_encoder, delta.text_encoder, 1.0, origin);
  const ScopedMerge in_unet(*base.unet, delta.unet, 1.0, origin);
  const auto layers = base.unet->cross_attention_count();
  auto tokens = known_words(base);
  const auto means = renamed(with_mean_rows(delta).words);
  tokens.add(delta.words, base.tokenizer, base.text_encoder);
  tokens.add(means, base.tokenizer, base.text_encoder);

  const std::array prompts = {prompt_of(delta.words), prompt_of(means)};
  const auto texts =
      as_layerwise(encode_prompts(tokens, base.tokenizer, base.text_encoder, prompts), layers);
  const auto side = base.unet->config().sample_size * base.downscale();
  auto generators = diffusion::picture_generators(/*seed=*/0, /*count=*/1);
  const auto noise =
      diffusion::initial_noise(generators, diffusion::latent_shape(base, side, side));
  const auto steps = json_value<std::int64_t>(base.scheduler_config, "num_train_timesteps", 1000);
  const auto predictions =
      base.unet(noise.expand({2, -1, -1, -1}), torch::tensor({steps / 2}, torch::kInt64), texts);
  return {.text = relative_change(texts[0], texts[1]),
          .prediction = relative_change(predictions[0], predictions[1])};
}

}  // namespace mos::concepts
