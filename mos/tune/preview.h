#pragma once

#include <filesystem>
#include <functional>
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

/// Who listens to the painting; everything may be left empty.
struct PreviewHooks {
  /// Each picture as soon as it is on disk: those before an interruption are there, too.
  std::function<void(const std::filesystem::path&)> painted;
  ProgressCallback progress;  ///< After each row of a picture, as the stage "painting samples".
  const CancelToken* cancel = nullptr;
};

/// Paints every preview prompt with the concept as it is now: one PNG for each prompt, with a row
/// for each LoRA scale (0 is the embedding alone) and the same starting noise in every column. The
/// LoRA scales are put back afterwards. Throws mos::Error: kIo, kCancelled.
void write_previews(const std::filesystem::path& folder, std::int64_t step,
                    const diffusion::Model& base, AttachedConcept& attached,
                    const TuneOptions& options, const PreviewHooks& hooks = {});

/// How many rows all sample pictures of a run with these options have.
std::int64_t preview_rows(const TuneOptions& options);

/// Seconds that all sample pictures of a run with these options would take, measured on two steps
/// of the first; writes nothing.
double trial_of_previews(const diffusion::Model& base, const AttachedConcept& attached,
                         const TuneOptions& options);

}  // namespace mos::tune
