#include <memory>

#include "mos/fuse/method.h"
#include "mos/fuse/options.h"

namespace mos::fuse {

std::unique_ptr<MergeMethod> make_gradient_of_pairs();  // gradient.cpp

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
    check_prompts("lesson_prompts", options_.lesson_prompts);
  }

  Needs needs() const override {
    auto needs = gradient_->needs();
    needs.distillation = options_;
    return needs;
  }

  Merged merge(const LayerProblem& problem) const override { return gradient_->merge(problem); }

 private:
  std::unique_ptr<MergeMethod> gradient_ = make_gradient_of_pairs();
  DistillOptions options_;
};

}  // namespace

std::unique_ptr<MergeMethod> make_distill() { return std::make_unique<Distill>(); }

}  // namespace mos::fuse
