#pragma once

#include <filesystem>
#include <vector>

#include "mos/base/progress.h"
#include "mos/diffusion/model.h"
#include "mos/tune/attached_concept.h"
#include "mos/tune/options.h"

namespace mos::tune {

/// Where the PNG of one prompt, counted from 1, goes: `step-000300-1.png`.
std::filesystem::path preview_path(const std::filesystem::path& folder, std::int64_t step,
                                   std::size_t prompt);

/// Of what a whole run with these options writes: the first, and all whose names are taken in
/// `folder`, which need not be there.
std::vector<std::filesystem::path> preview_paths(const std::filesystem::path& folder,
                                                 const TuneOptions& options);

/// Paints every preview prompt with the concept as it is now: one PNG for each prompt, with a row
/// for each LoRA scale (0 is the embedding alone) and the same starting noise in every column. The
/// LoRA scales are put back afterwards. Returns their paths. Throws mos::Error: kIo, kCancelled.
std::vector<std::filesystem::path> write_previews(const std::filesystem::path& folder,
                                                  std::int64_t step, const diffusion::Model& base,
                                                  AttachedConcept& attached,
                                                  const TuneOptions& options,
                                                  const CancelToken* cancel = nullptr);

}  // namespace mos::tune
