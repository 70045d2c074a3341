#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "mos/concepts/concept_delta.h"
#include "mos/concepts/held_forms.h"

/// Concepts into files of every dialect that can be written.
namespace mos::concepts {

enum class ConceptFormat {
  kMos,               ///< Ours: words and LoRA under the authors' names, `.safetensors`.
  kOfficial,          ///< The authors' `.pth`.
  kKohya,             ///< LoRA for A1111, ComfyUI, kohya; words as bundle_emb.
  kPeft,              ///< LoRA as PEFT names it and diffusers (from 0.22 on) reads it.
  kDiffusers,         ///< LoRA as diffusers before 0.22 names it.
  kA1111,             ///< One word, `.pt` or `.safetensors`.
  kTextualInversion,  ///< One word for diffusers, `.bin` or `.safetensors`.
  kXti,               ///< One word with rows for 16 layers, as kohya's XTI keeps it.
};

/// "mos", "official", "kohya", "peft", "diffusers", "a1111", "textual-inversion", "xti".
std::vector<std::string> concept_format_names();
/// Throws mos::Error(kUsage) for another name.
ConceptFormat concept_format(const std::string& name);

/// What updates of layers files of this format can hold.
HeldForms forms_held_by(ConceptFormat format);

/// What the ending of a file promises: kMos for .safetensors, kOfficial for .pth.
/// Throws mos::Error(kUsage) for others.
ConceptFormat format_of_ending(const std::filesystem::path& path);

/// Throws mos::Error naming what `format` or a file with this ending cannot hold, whatever the
/// forms of the updates: kMismatch for layer-wise rows, kUsage for LoRA in embeddings, words in a
/// LoRA, several words or none for an embedding, or the ending. So before updates are reduced to
/// what the format holds.
void check_room(ConceptFormat format, const ConceptDelta& delta, const std::filesystem::path& path);

/// Throws as check_room does, and kMismatch for forms of updates (see reduced_to), kUsage for a
/// scale that only the metadata of another ending could hold.
void check_holds(ConceptFormat format, const ConceptDelta& delta,
                 const std::filesystem::path& path);

/// Writes `delta`, the same bytes for the same concept, complete or not at all. Tensors keep their
/// dtype. Scales stay factors of their own (alpha), but in kOfficial, whose reader knows none:
/// there they are multiplied into `up`. Throws as check_holds does, and kIo.
void write_concept(const std::filesystem::path& path, const ConceptDelta& delta,
                   ConceptFormat format, const FileRules& rules = {});

/// In our own format.
void save_concept(const std::filesystem::path& path, const ConceptDelta& delta,
                  const FileRules& rules = {});

}  // namespace mos::concepts
