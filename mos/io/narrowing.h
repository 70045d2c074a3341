#pragma once

#include <torch/types.h>

#include <cstdint>
#include <string>

/// Tensors into dtypes that hold less: what gets lost is an error or is counted.
namespace mos::io {

/// Casts the tensors of one file.
class Narrowing {
 public:
  /// `tensor` in `dtype` on the CPU; the same tensor when it is that already. Numbers that become
  /// zero are counted. Throws mos::Error(kMismatch) naming `name` when a finite number would become
  /// infinite: one such weight makes every picture black.
  torch::Tensor cast(const std::string& name, const torch::Tensor& tensor, torch::ScalarType dtype);

  /// Warns of what became zero in `origin`, with counts; says nothing if nothing did.
  void warn(const std::string& origin) const;

  std::int64_t zeroed() const { return zeroed_; }

 private:
  std::int64_t zeroed_ = 0, numbers_ = 0, tensors_ = 0;
  std::string first_, dtype_;  ///< The tensor where that happened first, and into what.
};

}  // namespace mos::io
