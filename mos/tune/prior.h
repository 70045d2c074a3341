#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "mos/base/progress.h"
#include "mos/diffusion/model.h"
#include "mos/tune/dataset.h"
#include "mos/tune/options.h"

/// Prior preservation (DreamBooth, arXiv 2208.12242): beside the concept's pictures, tuning sees
/// pictures of the class as the base model paints them, so that it goes on painting those.
namespace mos::tune {

/// The name of the record that is in every folder of such pictures.
inline constexpr const char* kPriorRecord = "prior.json";

/// What the class pictures show and are trained as: the option, or "a photo of a CLASS".
/// Throws mos::Error(kUsage) where neither is given. Required: options.prior.pictures > 0.
std::string prior_prompt(const TuneOptions& options);

/// Where those that fit `base` and `options` are: a folder in `folder` of their own, named by what
/// they were made with, so that others stay as they are.
std::filesystem::path prior_place(const std::filesystem::path& folder, const diffusion::Model& base,
                                  const TuneOptions& options);

struct PriorHooks {
  std::filesystem::path folder;  ///< Where they are kept, see prior_place; empty: nowhere.
  ProgressCallback progress;
  const CancelToken* cancel = nullptr;
};

/// options.prior.pictures of them, each a function of its number, with `base` as it is and no
/// concept in it. Those that are there are read; what is missing is painted and kept picture by
/// picture, with a record. Says in the log which. `options` must be complete.
/// Throws mos::Error: kIo, kFormat for a picture that is damaged or of another size, kCancelled.
std::vector<TrainingPicture> prior_pictures(const diffusion::Model& base,
                                            const TuneOptions& options, const PriorHooks& hooks);

/// As many without anything on them, to measure with.
std::vector<TrainingPicture> blank_prior(const diffusion::Model& base, const TuneOptions& options);

}  // namespace mos::tune
