#pragma once

#include <torch/types.h>

#include <cstdint>
#include <vector>

#include "mos/fuse/gram.h"
#include "mos/fuse/update.h"

namespace mos::fuse {

/// What the concepts want of one layer, summed: everything but the inputs' own moments, which
/// layers with the same input share. Its size is that of the result.
class LayerWish {
 public:
  LayerWish(std::int64_t out_features, std::int64_t in_features);

  /// Adds a concept whose tuned weight is W0 + update, on its inputs. An empty update is the wish
  /// that the layer stay as it is there; a dense one counts as its factored(). Throws
  /// mos::Error(kMismatch) on shapes that do not fit.
  void add(const Update& update, const InputGram& inputs);
  /// The same from what a client may have computed itself: up [O,r], moments down·G [r,I] and
  /// energy ‖ΔW Xᵀ‖².
  void add_reduced(const torch::Tensor& up, const torch::Tensor& moments, double energy);

  std::int64_t out_features() const { return up_.size(0); }
  std::int64_t in_features() const { return moments_.size(1); }
  /// [up_1 … up_n], [O,R].
  const torch::Tensor& up() const { return up_; }
  /// down_i · G_i over one another, [R,I].
  const torch::Tensor& moments() const { return moments_; }
  /// down_i · X_iᵀ as diagonal blocks, [R,N]: what moments() is in the space of the rows.
  /// Undefined when a concept had more rows than features.
  torch::Tensor responses() const;
  /// For each concept, the first of its columns in up(), and R at the end.
  const std::vector<std::int64_t>& offsets() const { return offsets_; }
  /// For each concept ‖ΔW_i X_iᵀ‖²: its share of the objective at W0.
  const std::vector<double>& energies() const { return energies_; }

 private:
  torch::Tensor up_;
  torch::Tensor moments_;
  bool rows_known_ = true;
  std::vector<torch::Tensor> responses_;
  std::vector<std::int64_t> offsets_{0};
  std::vector<double> energies_;
};

/// The exact minimiser of Σ_i ‖(W − W_i) X_iᵀ‖² + λ ‖W − W0 − up·P‖², for all layers that share
/// the inputs `total` = Σ G_i:
///
///     W − W0 = up · M ,   M = (stack_i(down_i G_i) + λP) (ΣG + λI)⁻¹ ,
///     λ = relative_ridge · tr(ΣG)/I ,
///
/// so the fused update is a LoRA of rank R with the concepts' own `up` side by side. P [R,I] is
/// what holds in directions that no input decides: zero (W stays W0 there), or stack_i(w_i down_i),
/// which is weight fusion; then the sum of squares is never above that of weight fusion. With
/// fewer rows than features the same M comes from their N×N kernel:
/// M = P + (responses − P Xᵀ) (X Xᵀ + λI)⁻¹ X.
class RidgeSolver {
 public:
  /// Factorises. If that fails, λ grows tenfold until it does not; relative_ridge() tells.
  /// Throws mos::Error(kUsage) for a negative ridge or one that is not a number.
  RidgeSolver(const InputGram& total, double relative_ridge);

  /// M, [R,I]; an undefined `prior` is zero.
  torch::Tensor solve(const LayerWish& wish, const torch::Tensor& prior = {}) const;
  /// (wanted + λ · prior) (ΣG + λI)⁻¹ for matrices [O,I]. Required: not dual().
  torch::Tensor solve(const torch::Tensor& wanted, const torch::Tensor& prior) const;
  double relative_ridge() const { return relative_ridge_; }  ///< The one that worked.
  bool dual() const { return rows_.defined(); }

 private:
  torch::Tensor divided(const torch::Tensor& rows) const;

  torch::Tensor rows_;      ///< X [N,I] for the dual form.
  torch::Tensor cholesky_;  ///< Lower factor of ΣG + λI or X Xᵀ + λI; undefined without inputs.
  double relative_ridge_;
  double ridge_ = 0.0;  ///< λ.
};

}  // namespace mos::fuse
