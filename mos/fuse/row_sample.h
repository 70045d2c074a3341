#pragma once

#include <torch/types.h>

#include <cstdint>
#include <vector>

namespace mos::fuse {

/// Rows of a layer's inputs that are kept as they are, spread evenly over all that come: every
/// k-th, with k doubled whenever twice as many as asked for are there. So concepts whose inputs
/// come in the same order keep the same places.
class RowSample {
 public:
  /// Keeps at least `count` rows (while there are so many) and less than twice that; of 0 none.
  explicit RowSample(std::int64_t count = 0) : count_(count) {}

  /// Looks at every row of `rows` [n,I] and copies those that it keeps.
  void add(const torch::Tensor& rows);

  /// [n,I] float64 on the CPU, in their order; undefined if nothing is kept.
  torch::Tensor rows() const;
  std::int64_t stride() const { return stride_; }  ///< k

 private:
  std::int64_t count_;
  std::int64_t stride_ = 1;
  std::int64_t seen_ = 0;
  std::int64_t kept_ = 0;
  std::vector<torch::Tensor> pieces_;
};

}  // namespace mos::fuse
