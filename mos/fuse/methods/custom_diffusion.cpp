#include <fmt/core.h>

#include <cmath>

#include "mos/base/error.h"
#include "mos/fuse/captions.h"
#include "mos/fuse/methods/wish.h"

namespace mos::fuse {

using torch::Tensor;

namespace {

struct CustomDiffusionOptions {
  double ridge = 1e-3;
  std::string captions;
};

template <class Visitor>
void describe(Visitor& visit, CustomDiffusionOptions& o) {
  visit("ridge", o.ridge, "how much the captions count beside the concepts' words",
        between(0, 1e6));
  visit("captions", o.captions, "text file of ordinary captions, one a line (none: our own 200)");
}

/// The constrained merge of Custom Diffusion (Kumari et al. 2023), for keys and values alone. Its
/// formula, with C = KᵀK of the text features of the captions and T those of the concepts, which
/// its authors take from a concept's first word to the end token: a concept is called "V class",
/// and keys and values answer for what it is at the class word, too,
///
///     D = T C⁻¹ ,   W' = W + Δ D ,   Δ = (V_Tᵀ − W Tᵀ) (D Tᵀ)⁻¹ ,
///
/// asks for W' T = V_T and, among all such W', for the least change on the captions. A ridge μ on
/// D Tᵀ makes it an ordinary minimum, of Σ_i ‖(W' − W_i) X_iᵀ‖² + μ ‖(W' − W) Kᵀ‖², so that
///
///     W' − W = (Σ_i ΔW_i G_i) (Σ_i G_i + μC)⁻¹ :
///
/// gradient fusion whose ridge knows which directions ordinary texts use. The moments are enough,
/// and the result is a LoRA of rank R. μ tr(C) = ridge · tr(ΣG).
class CustomDiffusion final : public MergeMethod {
 public:
  void describe(FieldVisitor& visit) override { describe_options(visit, options_); }

  void check() const override {
    if (!(options_.ridge > 0.0) || !std::isfinite(options_.ridge)) {
      throw Error(ErrorKind::kUsage,
                  fmt::format("ridge must be a number above 0, not {}", options_.ridge));
    }
    captions_of(options_.captions);
  }

  Needs needs() const override {
    return {.inputs = Recorded::kKeysAndValues,
            .words_to_end = true,
            .captions = captions_of(options_.captions)};
  }

  Merged merge(const LayerProblem& problem) const override {
    const auto wish = wish_of(problem, problem.weights);
    const auto& concepts = problem.inputs->total(problem.weights);
    if (concepts.trace() == 0.0) return {};
    const auto captions = problem.captions->matrix();
    const double size = static_cast<double>(captions.size(0));
    const double mean = captions.trace().item<double>() / size;
    // Captions need not reach every direction: there the change is kept small for its own sake.
    constexpr double kFloor = 1e-6;
    const auto metric = captions + kFloor * mean * torch::eye(captions.size(0), torch::kFloat64);
    const double mu = options_.ridge * concepts.trace() / (mean * size);
    const auto factor = torch::linalg_cholesky(concepts.matrix() + mu * metric);
    const auto m = torch::cholesky_solve(wish.moments().t(), factor).t().contiguous();
    return merged_of(problem, wish, m);
  }

 private:
  CustomDiffusionOptions options_;
};

}  // namespace

std::unique_ptr<MergeMethod> make_custom_diffusion() { return std::make_unique<CustomDiffusion>(); }

}  // namespace mos::fuse
