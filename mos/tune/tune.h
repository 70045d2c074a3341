#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "mos/base/progress.h"
#include "mos/base/wishes.h"
#include "mos/concepts/concept_delta.h"
#include "mos/diffusion/model.h"
#include "mos/tune/dataset.h"
#include "mos/tune/identity.h"
#include "mos/tune/options.h"

/// Single-client concept tuning: a folder of pictures becomes a concept file.
namespace mos::tune {

/// What a run reports and writes on the way.
struct TuneHooks {
  ProgressCallback
      progress;  ///< After every step, with the smoothed loss; while painting, without.
  const CancelToken* cancel = nullptr;
  Wishes* wishes = nullptr;  ///< A checkpoint or sample pictures at the next step; may be null.
  /// Taken up if it is there; empty: none is written. A finished run leaves it, of its last step:
  /// who has the concept on disk removes it.
  std::filesystem::path checkpoint;
  bool fresh = false;  ///< Start anew: the first checkpoint replaces one that is there.
  /// What the checkpoint is of, before the first step: for who removes it.
  std::function<void(const RunIdentity&)> identified;
  /// Where class pictures are kept (prior.h); empty: they are painted for this run alone.
  std::filesystem::path prior_folder;
  std::filesystem::path preview_folder;  ///< Gets the sample pictures; empty: none are made.
  std::function<void(const std::filesystem::path&)> preview;  ///< Each of them, when it is there.
  std::string program_version;                                ///< For the metadata.
};

/// Whether a concept needs words of its own: without any it would learn nothing, or not what its
/// method is about.
bool needs_words(const TuneOptions& options);

/// `words` with the concept's own words and class word where they leave them open; what a prompt
/// then says is concept_phrase() of them (trainer.h).
WordOptions complete_words(WordOptions words, const ConceptDataset& dataset);

/// `options` completed from what the dataset says about itself: words, class word, initializers and
/// templates where the options leave them open.
/// Throws mos::Error(kUsage) if the words are still unknown or a caption lacks the concept.
TuneOptions complete_options(TuneOptions options, const ConceptDataset& dataset);

/// Tunes a concept on `base`, whose weights stay as they are. The result depends on base, dataset
/// and options alone: also when the run was interrupted and went on from its checkpoint. (Without
/// `micro_batch` also on the number of threads, which the metadata then names.) A checkpoint or a
/// sample picture that cannot be written is a warning, and so is a checkpoint of another run that
/// has come to lie in the place of this one's: it stays. When cancelled, writes the checkpoint and
/// throws mos::Error(kCancelled). Throws mos::Error: kUsage for options that fit neither each other
/// nor the model, kMismatch for a checkpoint of another run, kFormat for a damaged one.
concepts::ConceptDelta tune_concept(const diffusion::Model& base, const ConceptDataset& dataset,
                                    const TuneOptions& options, const TuneHooks& hooks = {});

}  // namespace mos::tune
