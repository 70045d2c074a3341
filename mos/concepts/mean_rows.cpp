#include "mos/concepts/mean_rows.h"

#include <array>
#include <memory>
#include <string>
#include <vector>

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

MeanRowChange measure_mean_rows(diffusion::Model& base, const ConceptDelta& delta) {
  const torch::NoGradGuard no_grad;
  const std::string origin = "the concept";
  std::vector<std::unique_ptr<ScopedMerge>> merged;
  for (const auto& [part, updates] : delta.updates) {
    merged.push_back(std::make_unique<ScopedMerge>(*base.network(part), updates, 1.0, origin));
  }
  auto tokens = known_words(base);
  const auto means = renamed(with_mean_rows(delta).words);
  tokens.add(delta.words, base.towers);
  tokens.add(means, base.towers);

  const std::array prompts = {prompt_of(delta.words), prompt_of(means)};
  const auto texts = encode_prompts(tokens, base.towers, prompts).layerwise(tokens.layers());
  const auto side = base.unet->config().sample_size * base.downscale();
  auto generators = diffusion::picture_generators(/*seed=*/0, /*count=*/1);
  const auto noise =
      diffusion::initial_noise(generators, diffusion::latent_shape(base, side, side));
  const auto predictions =
      base.unet(noise.expand({2, -1, -1, -1}),
                torch::tensor({base.schedule.size() / 2}, torch::kInt64), texts);
  return {.text = relative_change(texts.context[0], texts.context[1]),
          .prediction = relative_change(predictions[0], predictions[1])};
}

}  // namespace mos::concepts
