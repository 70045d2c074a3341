#include <fmt/core.h>

#include <algorithm>

#include "mos/base/counts.h"
#include "mos/base/error.h"
#include "mos/fuse/weight_fusion.h"

namespace mos::fuse {

using torch::Tensor;

namespace {

struct SvdOptions {
  std::int64_t rank = 0;
};

template <class Visitor>
void describe(Visitor& visit, SvdOptions& o) {
  visit("rank", o.rank, "of the merged LoRA (0: the largest of the concepts')",
        count_of(0, kHighestRank));
}

struct Decomposition {
  Tensor left;    ///< [O,k]
  Tensor values;  ///< [k], from the largest down.
  Tensor right;   ///< [k,I]
};

/// The singular value decomposition of ΔW. Of a low-rank one that of R_up · R_downᵀ, which is
/// small, with the factors up = Q_up R_up and downᵀ = Q_down R_down.
Decomposition decompose(const Update& update) {
  if (!update.is_low_rank()) {
    const auto [u, s, vh] = torch::linalg_svd(update.dense, /*full_matrices=*/false);
    return {u, s, vh};
  }
  const auto [q_up, r_up] = torch::linalg_qr(update.up);
  const auto [q_down, r_down] = torch::linalg_qr(update.down.t());
  const auto [u, s, vh] =
      torch::linalg_svd(torch::matmul(r_up, r_down.t()), /*full_matrices=*/false);
  return {torch::matmul(q_up, u), s, torch::matmul(vh, q_down.t())};
}

/// The sum of the updates, cut to its leading singular values (PEFT's `svd`).
class Svd final : public MergeMethod {
 public:
  void describe(FieldVisitor& visit) override { describe_options(visit, options_); }

  Merged merge(const LayerProblem& problem) const override {
    const auto sum = weighted_sum(problem.updates, problem.weights);
    auto [left, values, right] = decompose(sum);
    const auto rank = std::min(rank_for(problem), values.size(0));
    const auto roots = values.slice(0, 0, rank).sqrt();
    const double all = values.square().sum().item<double>();
    const double kept = values.slice(0, 0, rank).square().sum().item<double>();
    return {.update = {.up = left.slice(1, 0, rank) * roots,
                       .down = roots.unsqueeze(1) * right.slice(0, 0, rank)},
            .facts = {{"kept_energy", all > 0.0 ? kept / all : 1.0}}};
  }

 private:
  std::int64_t rank_for(const LayerProblem& problem) const {
    if (options_.rank > 0) return options_.rank;
    std::int64_t largest = 0;
    for (const auto& update : problem.updates) largest = std::max(largest, update.rank());
    return largest;
  }

  SvdOptions options_;
};

}  // namespace

std::unique_ptr<MergeMethod> make_svd() { return std::make_unique<Svd>(); }

}  // namespace mos::fuse
