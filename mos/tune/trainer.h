#pragma once

#include <torch/types.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "mos/base/runtime.h"
#include "mos/diffusion/model.h"
#include "mos/train/optimiser.h"
#include "mos/tune/attached_concept.h"
#include "mos/tune/checkpoint.h"
#include "mos/tune/latents.h"
#include "mos/tune/objective.h"
#include "mos/tune/picture_stream.h"
#include "mos/tune/plan.h"
#include "mos/tune/shares.h"
#include "mos/tune/token_density.h"

namespace mos::tune {

/// The training loop's state and its one step.
class Trainer {
 public:
  /// `options` must be complete (complete_options). `dataset` is not copied.
  Trainer(const diffusion::Model& base, const ConceptDataset& dataset, const TuneOptions& options);

  /// One optimiser step; returns its loss, the mean over the accumulated batches.
  double step();

  /// Everything drawn for batch `index` of the run (there are `accumulate` for each step).
  TuneBatch draw_batch(std::int64_t index);

  const RunState& state() const { return state_; }
  /// The sample pictures of the present step are all there.
  void note_previews() { state_.previewed = state_.step; }
  AttachedConcept& attached() { return attached_; }
  const AttachedConcept& attached() const { return attached_; }

  /// The CPU threads that one operation is divided among, on which the last bits of sums depend; 0
  /// where each thread computes shares of a batch alone and their number changes nothing.
  std::int64_t dividing_threads() const;

  void save(const CheckpointPlace& place, const RunIdentity& identity) const;
  void resume(const std::filesystem::path& path, const RunIdentity& identity);

 private:
  bool has_shares() const;
  std::optional<ScopedThreads> alone_where_shares_are() const;
  torch::Tensor add_gradients(const TuneBatch& batch);
  nn::Conditioning encode(const AttachedConcept& attached,
                          std::span<const std::string> prompts) const;
  nn::Conditioning kept_text(const std::vector<std::string>& prompts);
  bool text_is_fixed() const;
  std::set<AttachedConcept::Layer> dropped_layers() const;
  void switch_off(const std::set<AttachedConcept::Layer>& layers);
  torch::Tensor add_gradients_of_terms();
  double settle(const torch::Tensor& loss);

  TuneOptions options_;
  TuningPlan plan_;
  ConceptDataset prior_data_;
  std::int64_t batch_size_;       ///< With class pictures, which are as many as the concept's.
  torch::TensorOptions compute_;  ///< Dtype and device of the U-Net's inputs.
  diffusion::NoiseSchedule schedule_;
  AttachedConcept attached_;
  std::int64_t share_size_;  ///< Pictures of one share of a batch.
  ShareRunner shares_;
  PictureStream pictures_;
  std::optional<PictureStream> prior_;
  std::vector<TokenDensity> density_;  ///< By tower; empty: not a term of the loss.
  std::unique_ptr<train::Optimiser> optimiser_;
  RunState state_;

  std::map<std::string, nn::Conditioning> kept_text_;  ///< While nothing of the text side trains.
};

/// The words as they stand in prompts, with the class word behind them where that is asked for, or
/// the class word alone for a concept without words.
std::string concept_phrase(const WordOptions& words);

}  // namespace mos::tune
