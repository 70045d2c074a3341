#include "mos/fuse/gram.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "mos/base/error.h"

namespace mos::fuse {

using torch::Tensor;

namespace {

/// Rows that are widened to float64 at once.
constexpr std::int64_t kChunkRows = 8192;

}  // namespace

void InputGram::add(const Tensor& input) {
  if (input.dim() == 0 || input.size(-1) != in_features_) {
    throw Error(ErrorKind::kMismatch,
                fmt::format("an input with {} features was given to the moments of a layer with {}",
                            input.dim() == 0 ? 0 : input.size(-1), in_features_));
  }
  const torch::NoGradGuard no_grad;
  const auto all_rows = input.detach().reshape({-1, in_features_});
  kept_.add(all_rows);
  for (std::int64_t begin = 0; begin < all_rows.size(0); begin += kChunkRows) {
    const auto end = std::min(begin + kChunkRows, all_rows.size(0));
    auto rows = all_rows.slice(0, begin, end)
                    .to(torch::kFloat64, /*non_blocking=*/false,
                        /*copy=*/true);
    row_count_ += rows.size(0);
    pending_rows_ += rows.size(0);
    pending_.push_back(std::move(rows));
    // Up to I rows are smaller than the I×I matrix, and exact: cross-attention's text has fewer.
    if (pending_rows_ > in_features_) fold_pending();
  }
}

void InputGram::merge(const InputGram& other) {
  if (other.in_features_ != in_features_) {
    throw Error(ErrorKind::kMismatch, fmt::format("moments of {} features cannot be added to {}",
                                                  other.in_features_, in_features_));
  }
  row_count_ += other.row_count_;
  if (other.sum_.defined()) {
    // Sums of the recording may be on a GPU; those of all concepts are added where solvers work.
    const auto theirs = other.sum_.cpu();
    sum_ = sum_.defined() ? sum_.cpu() + theirs : theirs.clone();
  }
  for (const auto& rows : other.pending_) pending_.push_back(rows.cpu());
  pending_rows_ += other.pending_rows_;
  if (sum_.defined() || pending_rows_ > in_features_) fold_pending();
}

InputGram InputGram::scaled(double weight) const {
  if (weight == 1.0) return *this;
  if (weight == 0.0) return InputGram(in_features_);
  auto result = *this;
  if (sum_.defined()) result.sum_ = weight * sum_;
  // Moments are quadratic in the rows.
  for (auto& rows : result.pending_) rows = std::sqrt(weight) * rows;
  return result;
}

void InputGram::fold_pending() {
  for (const auto& rows : pending_) {
    if (!sum_.defined()) sum_ = torch::zeros({in_features_, in_features_}, rows.options());
    sum_.addmm_(rows.t(), rows);
  }
  pending_.clear();
  pending_rows_ = 0;
}

Tensor InputGram::samples() const {
  if (sum_.defined()) return {};
  if (pending_.empty()) return torch::zeros({0, in_features_}, torch::kFloat64);
  return (pending_.size() == 1 ? pending_.front() : torch::cat(pending_)).cpu();
}

Tensor InputGram::matrix() const {
  auto total = sum_.defined() ? sum_.to(torch::kCPU, torch::kFloat64, /*non_blocking=*/false,
                                        /*copy=*/true)
                              : torch::zeros({in_features_, in_features_}, torch::kFloat64);
  for (const auto& rows : pending_) total.addmm_(rows.cpu().t(), rows.cpu());
  // addmm rounds the two triangles apart; solvers want it symmetric.
  return (total + total.t()) / 2.0;
}

Tensor InputGram::times(const Tensor& left) const {
  // Few rows are multiplied one after the other, and the matrix is never made.
  if (sum_.defined()) return torch::matmul(left, matrix());
  const auto rows = samples();
  return torch::matmul(torch::matmul(left, rows.t()), rows);
}

Tensor InputGram::project(const Tensor& left) const {
  if (sum_.defined()) return torch::matmul(torch::matmul(left, matrix()), left.t());
  const auto outputs = torch::matmul(left, samples().t());
  return torch::matmul(outputs, outputs.t());
}

double InputGram::trace() const {
  double total = sum_.defined() ? sum_.trace().item<double>() : 0.0;
  for (const auto& rows : pending_) total += rows.square().sum().item<double>();
  return total;
}

InputGram InputGram::from_matrix(const Tensor& matrix, std::int64_t rows) {
  InputGram gram(matrix.size(1));
  gram.sum_ = matrix.to(torch::kFloat64);
  gram.row_count_ = rows;
  return gram;
}

InputGram InputGram::from_samples(const Tensor& samples) {
  InputGram gram(samples.size(1));
  gram.add(samples);
  return gram;
}

double squared_norm(const Tensor& outer, const Tensor& projected) {
  const double sum = (torch::matmul(outer.t(), outer) * projected).sum().item<double>();
  return std::max(0.0, sum);  // rounding may leave a negative zero
}

}  // namespace mos::fuse
