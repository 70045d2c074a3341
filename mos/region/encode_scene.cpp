#include <fmt/core.h>

#include <array>
#include <string>
#include <utility>
#include <vector>

#include "mos/base/error.h"
#include "mos/concepts/prompt_encoder.h"
#include "mos/region/region_mask.h"
#include "mos/region/sample.h"
#include "mos/region/scene_text.h"
#include "mos/region/subjects.h"

/// A scene's words as the U-Net reads them.
namespace mos::region {

using torch::Tensor;

namespace {

/// The phrases of `prompt`, which is encoded as `text` [1,…]: `names` of several words that stand
/// in it, or those that it seems to have.
StructuredText structure_of(diffusion::Model& model, const concepts::ConceptTokens& tokens,
                            const std::string& prompt, const Tensor& text,
                            const SamplerOptions& options) {
  const SubjectReader reader(model, tokens, options);
  std::vector<EncodedPhrase> phrases;
  const auto names = options.subjects.empty() ? noun_phrases(prompt) : options.subjects;
  for (const auto& name : names) {
    const auto columns = reader.find(prompt, name);
    if (columns.size() < 2) continue;
    const std::vector<std::string> pair = {name, ""};
    const auto alone = concepts::encode_pairs(tokens, model.towers, pair, prompt_options(options));
    phrases.push_back(
        {columns.front(), static_cast<std::int64_t>(columns.size()), alone.front().context});
  }
  return phrases.empty() ? StructuredText() : structured_text(text, phrases, options.structure);
}

/// Puts the phrases of all prompts into `texts`. Throws kUsage where there is none.
void add_structure(diffusion::Model& model, const concepts::ConceptTokens& tokens,
                   const Scene& scene, const SamplerOptions& options, SceneTexts& texts) {
  if (options.structure == Structure::kConjunction && !scene.regions.empty()) {
    throw Error(ErrorKind::kUsage,
                "structure conjunction is for pictures without regions; take values with them");
  }
  texts.structure = structure_of(model, tokens, scene.prompt, texts.cond.context, options);
  bool any = texts.structure.values.defined();
  for (std::size_t r = 0; r < scene.regions.size(); ++r) {
    const auto& whole = texts.regions[r].text.context;
    texts.regions[r].values = structure_of(model, tokens, scene.regions[r].prompt,
                                           whole.slice(0, whole.size(0) - 1), options)
                                  .values;
    any = any || texts.regions[r].values.defined();
  }
  if (any) return;
  throw Error(ErrorKind::kUsage,
              fmt::format("structure is about noun phrases of more than one word, and \"{}\" seems "
                          "to have none: name them with --subjects",
                          scene.prompt));
}

}  // namespace

SceneTexts encode_scene(diffusion::Model& model, const concepts::ConceptTokens& tokens,
                        const Scene& scene, const SampleOptions& options) {
  const torch::NoGradGuard no_grad;
  const auto whole = with_root_prompts(scene);
  const auto prompts = prompts_of(whole);
  const auto states =
      concepts::encode_pairs(tokens, model.towers, prompts, prompt_options(options.sampler));
  const bool guided = options.guidance_scale > 1.0;
  SceneTexts texts{states[0], states[1], {}, {}};
  for (std::size_t r = 0; r < scene.regions.size(); ++r) {
    const auto &cond = states[2 + 2 * r], &uncond = states[3 + 2 * r];
    texts.regions.push_back({scene.regions[r].box, scene.regions[r].weight,
                             guided ? nn::cat(std::array{uncond, cond}) : cond});
  }
  if (options.sampler.structure != Structure::kNone) {
    add_structure(model, tokens, whole, options.sampler, texts);
  }
  return texts;
}

}  // namespace mos::region
