#pragma once

#include <torch/types.h>

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "mos/eval/clip_score.h"
#include "mos/jobs/context.h"
#include "mos/session/session.h"
#include "mos/study/borrowed_model.h"
#include "mos/study/plan.h"

namespace mos::study {

/// Makes cells, with one base model that is loaded once.
class Workbench {
 public:
  /// Refers to both. Throws as diffusion::Model::load and eval::ClipScorer do.
  Workbench(const StudyOptions& options, const jobs::JobContext& context);
  ~Workbench();
  Workbench(const Workbench&) = delete;
  Workbench& operator=(const Workbench&) = delete;

  const Basis& basis() const { return basis_; }

  /// Each fills `folder` with its result: a concept, pictures 0001.png …, figures. A tuning that is
  /// interrupted leaves its `checkpoint` (checkpoint_of), from which it goes on.
  void tune(const TuneCell& cell, const std::filesystem::path& folder,
            const std::filesystem::path& checkpoint);
  void merge(const MergeCell& cell, const std::vector<std::filesystem::path>& tunings,
             const std::filesystem::path& folder);
  /// `concepts` are the folders of what is in the model: a merge, or tunings.
  void paint(const PaintCell& cell, const std::vector<std::filesystem::path>& concepts,
             const std::filesystem::path& folder);
  void measure(const MeasureCell& cell, const std::filesystem::path& painting,
               const std::filesystem::path& folder);

  /// How alike a concept's own pictures are, what image alignment can reach.
  /// Nothing for a single picture, which is like no other.
  std::optional<double> ceiling(const Subject& subject);

 private:
  struct Judged {
    torch::Tensor clip, dino;
  };
  Judged judge(const torch::Tensor& pictures);
  const Judged& references_of(const Subject& subject);
  session::Session& session_of(const PaintCell& cell,
                               const std::vector<std::filesystem::path>& concepts);
  void close_session();

  const StudyOptions& options_;
  const jobs::JobContext& context_;
  diffusion::Model base_;
  Basis basis_;
  eval::ClipScorer judge_;
  std::optional<eval::DinoScorer> dino_;
  std::map<std::string, Judged> references_;  ///< By concept.
  std::unique_ptr<BorrowedModel> painted_;    ///< With the concepts of `session_`.
  std::optional<session::Session> session_;
  std::string session_model_;
};

/// Where `cell`, whose place is `place`, waits when its tuning is interrupted: beside it. One that
/// was begun with other options will not go on any more: it goes.
std::filesystem::path checkpoint_of(const TuneCell& cell, const std::filesystem::path& place);

/// What all cells of a study with `options` depend on. Loads the base model.
Basis basis_of(const StudyOptions& options);

/// The picture files in the folder of a painting, in the order of their seeds.
std::vector<std::filesystem::path> pictures_in(const std::filesystem::path& painting);

/// What a measuring found.
struct Figures {
  /// By name, a value for each seed: text, image, first, dino; of several own and margin [regions,
  /// seeds].
  std::map<std::string, torch::Tensor> values;
};
Figures read_figures(const std::filesystem::path& folder);

}  // namespace mos::study
