#pragma once

#include <filesystem>
#include <vector>

#include "mos/base/progress.h"
#include "mos/diffusion/model.h"
#include "mos/tune/attached_concept.h"
#include "mos/tune/options.h"

namespace mos::tune {

/// Paints every preview prompt with the concept as it is now: one PNG for each prompt,
/// `step-000300-1.png`, with a row for each LoRA scale (0 is the embedding alone) and the same
/// starting noise in every column. The LoRA scales are put back afterwards.
/// Returns their paths. Throws mos::Error: kIo, kCancelled.
std::vector<std::filesystem::path> write_previews(const std::filesystem::path& folder,
                                                  std::int64_t step, const diffusion::Model& base,
                                                  AttachedConcept& attached,
                                                  const TuneOptions& options,
                                                  const CancelToken* cancel = nullptr);

}  // namespace mos::tune
