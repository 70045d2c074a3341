#include "mos/fuse/weight_fusion.h"

namespace mos::fuse {

namespace {

/// Σ w_i ΔW_i. The rows of the table differ in what w_i are: fractions of one for weight fusion
/// (Eq. 2), any factors for the sum, also as one LoRA.
class WeightedSum final : public MergeMethod {
 public:
  Merged merge(const LayerProblem& problem) const override {
    return {.update = weighted_sum(problem.updates, problem.weights)};
  }
};

}  // namespace

std::unique_ptr<MergeMethod> make_weighted_sum() { return std::make_unique<WeightedSum>(); }

}  // namespace mos::fuse
