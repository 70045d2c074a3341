#include <cmath>

#include "mos/diffusion/sigma/sigma_method.h"

/// Methods of one call and no memory, and what all methods share.
namespace mos::diffusion {

using torch::Tensor;

namespace {

/// dx/dσ = (x − x_0)/σ, followed in straight pieces (Karras et al. 2022, without churn).
class Euler : public SigmaMethod {
 public:
  Tensor begin(const SigmaStep& step, const Tensor& sample, const Tensor& denoised,
               const NoiseSource& /*noise*/) override {
    return sample + (sample - denoised) * ((step.to - step.from) / step.from);
  }
};

/// Euler to a lower level, then noise up to the wanted one.
class EulerAncestral : public SigmaMethod {
 public:
  explicit EulerAncestral(double eta) : eta_(eta) {}

  Tensor begin(const SigmaStep& step, const Tensor& sample, const Tensor& denoised,
               const NoiseSource& noise) override {
    const auto [down, up] = ancestral_split(step.from, step.to, eta_);
    const auto moved = sample + (sample - denoised) * ((down - step.from) / step.from);
    return up > 0 ? moved + up * noise.like(sample) : moved;
  }
  bool is_stochastic() const override { return eta_ > 0; }

 private:
  double eta_;
};

/// Latent consistency (arXiv 2310.04378, algorithm 3): the network's picture, noised again.
class Consistency : public SigmaMethod {
 public:
  Tensor begin(const SigmaStep& step, const Tensor& sample, const Tensor& denoised,
               const NoiseSource& noise) override {
    return step.to > 0 ? denoised + step.to * noise.like(sample) : denoised;
  }
  bool is_stochastic() const override { return true; }
};

}  // namespace

Tensor SigmaMethod::finish(const SigmaStep& /*step*/, const Tensor& sample,
                           const Tensor& /*denoised*/, const NoiseSource& /*noise*/) {
  TORCH_CHECK(false, "this method has one call in each step");
  return sample;
}

AncestralSplit ancestral_split(double from, double to, double eta) {
  if (eta == 0.0 || to == 0.0) return {to, 0.0};
  const double whole = to * std::sqrt(1.0 - to * to / (from * from));
  const double up = std::min(to, eta * whole);
  return {std::sqrt(to * to - up * up), up};
}

std::unique_ptr<SigmaMethod> make_euler_method(const std::string& name,
                                               const SigmaMethodOptions& options) {
  if (name == "euler") return std::make_unique<Euler>();
  if (name == "euler_a") return std::make_unique<EulerAncestral>(options.eta);
  if (name == "lcm") return std::make_unique<Consistency>();
  return nullptr;
}

std::unique_ptr<SigmaMethod> make_sigma_method(const std::string& name,
                                               const SigmaMethodOptions& options) {
  if (auto method = make_euler_method(name, options)) return method;
  if (auto method = make_two_call_method(name, options)) return method;
  if (auto method = make_multistep_method(name, options)) return method;
  TORCH_CHECK(name == "unipc", "no method ", name);
  return make_unipc_method(options);
}

}  // namespace mos::diffusion
