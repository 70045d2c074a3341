#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "mos/region/sample.h"
#include "mos/text/prompt_tags.h"

/// How pictures of other programs were made, as far as it means something here.
namespace mos::region {

struct ForeignRecord {
  std::string prompt, negative_prompt;
  Json scene = Json::object();  ///< More keys of a scene file: regions and their rules.
  SampleOptions options;
  std::vector<text::LoraTag> loras;   ///< Those beside the prompts, which name theirs in tags.
  std::string model;                  ///< What they call their checkpoint; not a path.
  std::vector<std::string> left_out;  ///< One sentence each about what is not taken over.
};

/// Of A1111's text "parameters" (and Forge's, and other programs' that write it), with the regions
/// of Forge Couple. Throws mos::Error(kFormat) when it has no line of options.
ForeignRecord read_parameters(const std::string& text, const std::string& origin);

/// The same text for a picture of ours, so that other programs read it: prompt and negative
/// prompt with the root prompts before them, and one line of options by A1111's names, a second
/// pass among them. Regions are left to our own record.
std::string parameters_text(const Scene& scene, const SampleOptions& options, std::uint64_t seed,
                            const std::string& version);

/// Of ComfyUI's graph in API form (the PNG text "prompt"): its one sampler with the checkpoint,
/// LoRA, an empty latent, and texts, whole or set to areas and combined. Throws mos::Error(kFormat)
/// for a graph without exactly one sampler.
ForeignRecord read_comfyui_graph(const std::string& text, const std::string& origin);

/// Of InvokeAI's text "invokeai_metadata", with the regions of its canvas as they were drawn.
/// Throws mos::Error(kFormat) unless it is an object.
ForeignRecord read_invokeai_metadata(const std::string& text, const std::string& origin);

/// From the texts of a PNG: "parameters", "invokeai_metadata" or "prompt"; nothing where it has
/// none of them.
std::optional<ForeignRecord> read_foreign(const std::map<std::string, std::string>& texts,
                                          const std::string& origin);

}  // namespace mos::region
