#pragma once

#include <torch/types.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "mos/jobs/context.h"
#include "mos/session/session.h"
#include "mos/study/borrowed_model.h"
#include "mos/study/judge.h"
#include "mos/study/plan.h"

namespace mos::study {

/// Makes cells, with one base model and one judge that are loaded once.
class Workbench {
 public:
  /// Refers to both. Throws as diffusion::Model::load and eval::ClipScorer do.
  Workbench(const StudyOptions& options, const jobs::JobContext& context);
  ~Workbench();
  Workbench(const Workbench&) = delete;
  Workbench& operator=(const Workbench&) = delete;

  const Basis& basis() const { return basis_; }

  /// Each fills `folder` with its result: a concept, pictures 0001.png …. A tuning that is
  /// interrupted leaves its `checkpoint` (checkpoint_of), from which it goes on.
  void tune(const TuneCell& cell, const std::filesystem::path& folder,
            const std::filesystem::path& checkpoint);
  void merge(const MergeCell& cell, const std::vector<std::filesystem::path>& tunings,
             const std::filesystem::path& folder);
  /// `concepts` are the folders of what is in the model: a merge, or tunings.
  void paint(const PaintCell& cell, const std::vector<std::filesystem::path>& concepts,
             const std::filesystem::path& folder);

  Judge& judge() { return judge_; }

 private:
  session::Session& session_of(const PaintCell& cell,
                               const std::vector<std::filesystem::path>& concepts);
  void close_session();

  const StudyOptions& options_;
  const jobs::JobContext& context_;
  diffusion::Model base_;
  Basis basis_;
  Judge judge_;
  std::unique_ptr<BorrowedModel> painted_;  ///< With the concepts of `session_`.
  std::optional<session::Session> session_;
  std::string session_model_;
};

/// Where `cell`, whose place is `place`, waits when its tuning is interrupted: beside it. One that
/// was begun with other options will not go on any more: it goes.
std::filesystem::path checkpoint_of(const TuneCell& cell, const std::filesystem::path& place);

/// What all cells of a study with `options` depend on. Loads the base model.
Basis basis_of(const StudyOptions& options);

/// Of all that a model says beside its weights, which diffusion::model_hash does not cover: the
/// configs of its networks and of its scheduler, and the files of its tokenizers.
std::string settings_hash(const diffusion::Model& model);

}  // namespace mos::study
