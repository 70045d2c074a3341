#pragma once

#include <optional>

#include "mos/base/json.h"
#include "mos/concepts/key_report.h"
#include "mos/diffusion/model.h"
#include "mos/io/tensor_file.h"

namespace mos::concepts {

/// What a file of a concept, LoRA or embedding is, without a base model: dialects, kind of network,
/// what it would load onto, ranks, alphas, words, keys by what became of them, SHA-256, and what
/// its metadata tells of its training. Nothing when it is no such file.
std::optional<Json> describe_concept(const io::TensorFile& file);

/// What would become of the keys of such a file on `base`, of which only the shapes matter: those
/// of layers that it lacks are unexpected, those of other sizes wrong. Nothing when it is no such
/// file.
std::optional<KeyReport> compare_with_base(const io::TensorFile& file, diffusion::Model& base);

}  // namespace mos::concepts
