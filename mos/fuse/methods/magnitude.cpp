#include "mos/fuse/methods/sparse.h"

namespace mos::fuse {

namespace {

struct MagnitudeOptions {
  double density = 0.5;
};

template <class Visitor>
void describe(Visitor& visit, MagnitudeOptions& o) {
  visit("density", o.density, "share of each update's entries that is kept, the largest ones",
        between(0, 1));
}

/// The sum of the updates' largest entries (PEFT's `magnitude_prune`).
class Magnitude final : public MergeMethod {
 public:
  void describe(FieldVisitor& visit) override { describe_options(visit, options_); }
  void check() const override { check_density(options_.density); }

  Merged merge(const LayerProblem& problem) const override {
    auto matrices = weighted_matrices(problem);
    if (matrices.empty()) return {};
    for (auto& matrix : matrices) matrix = keep_largest(matrix, options_.density);
    return {.update = {.dense = sum_of(matrices)}};
  }

 private:
  MagnitudeOptions options_;
};

}  // namespace

std::unique_ptr<MergeMethod> make_magnitude() { return std::make_unique<Magnitude>(); }

}  // namespace mos::fuse
