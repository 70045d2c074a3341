#pragma once

#include <torch/types.h>

#include <cstdint>
#include <vector>

#include "mos/fuse/row_sample.h"

/// Centre-node concept fusion (the paper's section 3.3): find the weight that acts on every
/// concept's inputs the way that concept's own tuned weight does,
///
///     min over W of  Σ_i ‖(W − W_i) X_iᵀ‖² ,   W_i = W0 + up_i · down_i .
///
/// X_i [N_i,I] holds one input of the layer per row and enters through G_i = X_iᵀ X_i only, so no
/// activation is ever stored. A 1×1 convolution is a linear layer whose rows are pixels.
/// All sums and solutions are float64; R stands for the sum of the concepts' ranks.
namespace mos::fuse {

/// Second moment of a layer's inputs, fed piece by piece: memory is at most 2·I·I doubles, however
/// many rows were seen. As long as there are no more rows than features, the rows themselves are
/// kept, which is smaller and lets the solver work in the space of the rows.
class InputGram {
 public:
  /// Beside the moments, about `kept_rows` rows are kept as they are.
  explicit InputGram(std::int64_t in_features, std::int64_t kept_rows = 0)
      : in_features_(in_features), kept_(kept_rows) {}

  /// Adds every row of `input` [...,I], of any float dtype; the sum stays on the input's device.
  /// Keeps no reference to it.
  /// Throws mos::Error(kMismatch) if the last dimension is not I.
  void add(const torch::Tensor& input);
  /// Adds all that `other` has seen: sums are additive over steps, concepts and machines.
  void merge(const InputGram& other);
  /// The moments of `weight` (from 0 on) times as many such rows: of 0 none. Aliases this one's
  /// tensors for 1.
  InputGram scaled(double weight) const;

  std::int64_t in_features() const { return in_features_; }
  std::int64_t rows() const { return row_count_; }
  /// Of the rows that add() has seen.
  const RowSample& kept() const { return kept_; }
  /// All results are on the CPU. X [N,I] in the order of arrival while N ≤ I, then undefined.
  torch::Tensor samples() const;
  torch::Tensor matrix() const;                            ///< G = XᵀX, [I,I] symmetric.
  torch::Tensor times(const torch::Tensor& left) const;    ///< left [k,I] -> left · G, [k,I].
  torch::Tensor project(const torch::Tensor& left) const;  ///< left [k,I] -> left · G · leftᵀ.
  double trace() const;

  /// From moments that were computed elsewhere: XᵀX [I,I] of `rows` rows, or X [N,I] itself.
  static InputGram from_matrix(const torch::Tensor& matrix, std::int64_t rows);
  static InputGram from_samples(const torch::Tensor& samples);

 private:
  void fold_pending();

  std::int64_t in_features_;
  std::int64_t row_count_ = 0;
  torch::Tensor sum_;                   ///< [I,I], undefined until the rows outnumber I.
  std::vector<torch::Tensor> pending_;  ///< Rows not yet in sum_, at most I of them.
  std::int64_t pending_rows_ = 0;
  RowSample kept_;
};

/// ‖outer · left · Xᵀ‖² from the moments `projected` = left · G · leftᵀ.
double squared_norm(const torch::Tensor& outer, const torch::Tensor& projected);

}  // namespace mos::fuse
