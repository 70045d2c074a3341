#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "mos/tune/trainer.h"
#include "mos/tune/tune.h"

namespace mos::tune {

/// The steps of one run from where its checkpoint stands to the end, with checkpoints and sample
/// pictures on the way. Where one of those cannot be written the run warns and goes on: it is
/// never worth the result.
class Run {
 public:
  /// `options` must be complete; nothing is copied but them.
  Run(const diffusion::Model& base, const ConceptDataset& dataset, const TuneOptions& options,
      const TuneHooks& hooks);

  /// Throws as tune_concept does.
  concepts::ConceptDelta finish();

 private:
  void take_up_checkpoint();
  std::string other_run() const;
  void leave_other_runs() const;
  void write_checkpoint(Unplaced unplaced);
  bool save(Unplaced unplaced = Unplaced::kDiscard);
  [[noreturn]] void stop();
  bool previews_are_due() const;
  void refuse_nothing(bool is_kept) const;
  void show();
  void grant_wishes();
  void report(double seconds) const;
  std::map<std::string, std::string> metadata() const;

  const diffusion::Model& base_;
  TuneOptions options_;
  const TuneHooks& hooks_;
  Trainer trainer_;
  RunIdentity identity_;
  std::string given_up_;  ///< How the checkpoint that this run replaces differs, until it does.
  std::int64_t tried_step_ = -1;  ///< Of the last checkpoint that this run wrote, or could not.
};

}  // namespace mos::tune
