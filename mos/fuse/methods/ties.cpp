#include "mos/fuse/methods/sparse.h"

namespace mos::fuse {

namespace {

struct TiesOptions {
  double density = 0.2;  ///< The paper's.
};

template <class Visitor>
void describe(Visitor& visit, TiesOptions& o) {
  visit("density", o.density, "share of each update's entries that is kept, the largest ones",
        between(0, 1));
}

/// TIES-Merging (Yadav et al. 2023): trim each update, elect a sign for each entry, take the mean
/// of those that agree with it.
class Ties final : public MergeMethod {
 public:
  void describe(FieldVisitor& visit) override { describe_options(visit, options_); }
  void check() const override { check_density(options_.density); }

  Merged merge(const LayerProblem& problem) const override {
    auto matrices = weighted_matrices(problem);
    if (matrices.empty()) return {};
    for (auto& matrix : matrices) matrix = keep_largest(matrix, options_.density);
    return {.update = {.dense = elected_mean(matrices)}};
  }

 private:
  TiesOptions options_;
};

}  // namespace

std::unique_ptr<MergeMethod> make_ties() { return std::make_unique<Ties>(); }

}  // namespace mos::fuse
