#include "mos/fuse/row_sample.h"

namespace mos::fuse {

void RowSample::add(const torch::Tensor& rows) {
  if (count_ == 0) return;
  const auto first = (stride_ - seen_ % stride_) % stride_;
  seen_ += rows.size(0);
  if (first >= rows.size(0)) return;
  pieces_.push_back(rows.slice(0, first, rows.size(0), stride_)
                        .to(torch::kFloat64, /*non_blocking=*/false, /*copy=*/true));
  kept_ += pieces_.back().size(0);
  while (kept_ >= 2 * count_) {
    pieces_ = {torch::cat(pieces_).slice(0, 0, kept_, 2).clone()};
    kept_ = pieces_.front().size(0);
    stride_ *= 2;
  }
}

torch::Tensor RowSample::rows() const {
  return pieces_.empty() ? torch::Tensor() : torch::cat(pieces_).cpu();
}

}  // namespace mos::fuse
