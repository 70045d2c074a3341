#pragma once

#include "mos/concepts/concept_delta.h"
#include "mos/concepts/lora_names.h"
#include "mos/io/state_dict.h"

/// Updates of layers as the tensors of a file.
namespace mos::concepts {

/// The same with every scale multiplied into `up`, float32 there: for readers that know no scale.
/// Required: every update is low-rank.
ConceptDelta with_folded_scales(ConceptDelta delta);

/// The updates of `delta` in the names of `dialect`, tensors as they are. kohya has an alpha beside
/// every pair, in the dtype of `down` where that holds it exactly, else float32; kOfficial has one
/// where the scale is not 1. kDiffusers and kPeft have it in the metadata, see peft_metadata().
/// Throws mos::Error as format_lora_key does.
io::StateDict lora_tensors(const ConceptDelta& delta, LoraDialect dialect);

}  // namespace mos::concepts
