#pragma once

#include <filesystem>

#include "mos/concepts/concept_delta.h"

namespace mos::concepts {

/// Reads a concept: our `.safetensors`, or the authors' `.pth` ({'params': {new_concept_embedding,
/// text_encoder, unet}}). Every key is accounted for.
/// Throws kIo, kFormat (no such file, damaged file), or kMismatch with all keys that mean nothing
/// in a concept file, and with all LoRA factors that lack their other half.
ConceptDelta load_concept(const std::filesystem::path& path);

/// Writes `.safetensors` with the keys `new_concept_embedding/<word>`,
/// `text_encoder/<layer>.lora_down.weight`, `unet/<layer>.lora_up.weight` … and the metadata.
/// The same concept gives the same bytes. Tensors are stored as float32, scale folded into `up`.
void save_concept(const std::filesystem::path& path, const ConceptDelta& delta);

}  // namespace mos::concepts
