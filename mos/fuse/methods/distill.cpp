#include <memory>

#include "mos/base/require.h"
#include "mos/fuse/method.h"
#include "mos/fuse/options.h"

namespace mos::fuse {

std::unique_ptr<MergeMethod> make_gradient();

namespace {

/// Gradient fusion, whose solution is where distill() begins.
class Distill final : public MergeMethod {
 public:
  void describe(FieldVisitor& visit) override {
    gradient_->describe(visit);
    describe_options(visit, options_);
  }

  void check() const override {
    gradient_->check();
    require(gradient_->needs().rounds == 0,
            "rounds of recording make full matrices of the pairs that distill teaches; leave "
            "rounds at 0, or take the method gradient");
    check_prompts("lesson_prompts", options_.lesson_prompts);
  }

  Needs needs() const override {
    auto needs = gradient_->needs();
    needs.distillation = options_;
    return needs;
  }

  Merged merge(const LayerProblem& problem) const override { return gradient_->merge(problem); }

 private:
  std::unique_ptr<MergeMethod> gradient_ = make_gradient();
  DistillOptions options_;
};

}  // namespace

std::unique_ptr<MergeMethod> make_distill() { return std::make_unique<Distill>(); }

}  // namespace mos::fuse
