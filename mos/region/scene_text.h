#pragma once

#include <cstdint>
#include <vector>

#include "mos/base/json.h"
#include "mos/region/region.h"
#include "mos/text/prompt_tags.h"

/// What is done to all prompts of a scene before they are read.
namespace mos::region {

/// All prompts with their negative ones: the context's, then those of each region. Root prompts are
/// none of them.
std::vector<std::string> prompts_of(const Scene& scene);

/// The same as the U-Net gets to read them: behind their root prompts, and the context's own in the
/// place of a region's that is empty.
std::vector<std::string> encoded_prompts_of(const Scene& scene);

/// Whether any prompt, root prompts among them, has a choice `{a|b}`.
bool has_choices(const Scene& scene);

/// The scene with one text for each choice, drawn with `seed`; each prompt draws by itself, so the
/// same prompt is the same text everywhere.
Scene choose_texts(Scene scene, std::uint64_t seed);

/// Takes `<lora:name:scale>` out of every prompt of a scene file, root prompts among them; what
/// stands there twice with the same scale is one. Throws as text::take_lora_tags does, and kUsage
/// for one name with two scales.
std::vector<text::LoraTag> take_lora_tags(Json& scene);

/// Adds what `more` has to `tags`, by the same rules.
void add_lora_tags(std::vector<text::LoraTag>& tags, const std::vector<text::LoraTag>& more);

}  // namespace mos::region
