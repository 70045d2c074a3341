#include <cmath>

#include "mos/diffusion/sigma/sigma_method.h"

/// Methods that call the network twice in each step, except in the one that ends at 0, which is
/// Euler's.
namespace mos::diffusion {

using torch::Tensor;

namespace {

/// Remembers what the first call has said.
class TwoCalls : public SigmaMethod {
 protected:
  void keep(const Tensor& sample, const Tensor& denoised) {
    sample_ = sample;
    denoised_ = denoised;
  }
  static Tensor slope(const Tensor& sample, const Tensor& denoised, double sigma) {
    return (sample - denoised) / sigma;
  }

  Tensor sample_, denoised_;  ///< Of the first call.
};

/// Karras et al. 2022, algorithm 1: the mean of the slopes at both ends.
class Heun : public TwoCalls {
 public:
  std::optional<double> between(const SigmaStep& step) const override {
    return step.to > 0 ? std::optional(step.to) : std::nullopt;
  }
  Tensor begin(const SigmaStep& step, const Tensor& sample, const Tensor& denoised,
               const NoiseSource& /*noise*/) override {
    keep(sample, denoised);
    return sample + slope(sample, denoised, step.from) * (step.to - step.from);
  }
  Tensor finish(const SigmaStep& step, const Tensor& sample, const Tensor& denoised,
                const NoiseSource& /*noise*/) override {
    const auto mean =
        (slope(sample_, denoised_, step.from) + slope(sample, denoised, step.to)) / 2.0;
    return sample_ + mean * (step.to - step.from);
  }
};

/// Inspired by DPM-Solver-2 (Karras et al. 2022): the slope at the middle of log σ. With η above 0
/// the ancestral kind.
class Dpm2 : public TwoCalls {
 public:
  explicit Dpm2(double eta) : eta_(eta) {}

  std::optional<double> between(const SigmaStep& step) const override {
    const double down = ancestral_split(step.from, step.to, eta_).down;
    return down > 0 ? std::optional(std::sqrt(step.from * down)) : std::nullopt;
  }
  Tensor begin(const SigmaStep& step, const Tensor& sample, const Tensor& denoised,
               const NoiseSource& noise) override {
    const auto middle = between(step);
    const auto [down, up] = ancestral_split(step.from, step.to, eta_);
    if (!middle) {  // the last step; or all of the next level is noise
      const auto moved = sample + slope(sample, denoised, step.from) * (down - step.from);
      return up > 0 ? moved + up * noise.like(sample) : moved;
    }
    keep(sample, denoised);
    return sample + slope(sample, denoised, step.from) * (*middle - step.from);
  }
  Tensor finish(const SigmaStep& step, const Tensor& sample, const Tensor& denoised,
                const NoiseSource& noise) override {
    const auto [down, up] = ancestral_split(step.from, step.to, eta_);
    const auto moved =
        sample_ + slope(sample, denoised, between(step).value()) * (down - step.from);
    return up > 0 ? moved + up * noise.like(sample) : moved;
  }
  bool is_stochastic() const override { return eta_ > 0; }

 private:
  double eta_;
};

/// x after a step of the exponential integrator with a constant picture, `share` = σ_to/σ_from:
/// the exact solution when the network's answer does not change (DPM-Solver++, first order).
Tensor towards(const Tensor& denoised, const Tensor& sample, double share) {
  return share * sample + (1.0 - share) * denoised;
}

/// DPM-Solver++(2S) (arXiv 2211.01095, algorithm 1) with its middle at half of log σ, ancestral.
class Dpmpp2sAncestral : public TwoCalls {
 public:
  explicit Dpmpp2sAncestral(double eta) : eta_(eta) {}

  std::optional<double> between(const SigmaStep& step) const override {
    const double down = ancestral_split(step.from, step.to, eta_).down;
    return down > 0 ? std::optional(std::sqrt(step.from * down)) : std::nullopt;
  }
  Tensor begin(const SigmaStep& step, const Tensor& sample, const Tensor& denoised,
               const NoiseSource& noise) override {
    const auto middle = between(step);
    if (middle) {
      keep(sample, denoised);
      return towards(denoised, sample, *middle / step.from);
    }
    const auto [down, up] = ancestral_split(step.from, step.to, eta_);
    const auto moved = towards(denoised, sample, down / step.from);
    return up > 0 ? moved + up * noise.like(sample) : moved;
  }
  Tensor finish(const SigmaStep& step, const Tensor& /*sample*/, const Tensor& denoised,
                const NoiseSource& noise) override {
    const auto [down, up] = ancestral_split(step.from, step.to, eta_);
    const auto moved = towards(denoised, sample_, down / step.from);
    return up > 0 ? moved + up * noise.like(sample_) : moved;
  }
  bool is_stochastic() const override { return eta_ > 0; }

 private:
  double eta_;
};

/// DPM-Solver++ (stochastic, r = 1/2): both calls' noise are parts of one Brownian path, so the
/// second one's contains the first one's.
class DpmppSde : public TwoCalls {
 public:
  explicit DpmppSde(double eta) : eta_(eta) {}

  std::optional<double> between(const SigmaStep& step) const override {
    return step.to > 0 ? std::optional(std::sqrt(step.from * step.to)) : std::nullopt;
  }
  Tensor begin(const SigmaStep& step, const Tensor& sample, const Tensor& denoised,
               const NoiseSource& noise) override {
    const auto middle = between(step);
    if (!middle) return denoised;
    keep(sample, denoised);
    const auto [down, up] = ancestral_split(step.from, *middle, eta_);
    const auto moved = towards(denoised, sample, down / step.from);
    if (up == 0) return moved;
    first_noise_ = noise.over(step.until(*middle), sample);
    return moved + up * first_noise_;
  }
  Tensor finish(const SigmaStep& step, const Tensor& /*sample*/, const Tensor& denoised,
                const NoiseSource& noise) override {
    const auto [down, up] = ancestral_split(step.from, step.to, eta_);
    const auto moved = towards(denoised, sample_, down / step.from);  // r = 1/2: the second alone
    if (up == 0) return moved;
    return moved + up * whole_noise(step, noise);
  }
  bool is_stochastic() const override { return eta_ > 0; }

 private:
  /// Over the step, of which first_noise_ is a part.
  Tensor whole_noise(const SigmaStep& step, const NoiseSource& noise) const {
    if (noise.has_path()) return noise.over(step.until(step.to), sample_);
    const double share = (step.from - between(step).value()) / (step.from - step.to);
    return std::sqrt(share) * first_noise_ + std::sqrt(1.0 - share) * noise.like(sample_);
  }

  double eta_;
  Tensor first_noise_;
};

}  // namespace

std::unique_ptr<SigmaMethod> make_two_call_method(const std::string& name,
                                                  const SigmaMethodOptions& options) {
  if (name == "heun") return std::make_unique<Heun>();
  if (name == "dpm2") return std::make_unique<Dpm2>(0.0);
  if (name == "dpm2_a") return std::make_unique<Dpm2>(options.eta);
  if (name == "dpm++2s_a") return std::make_unique<Dpmpp2sAncestral>(options.eta);
  if (name == "dpm++sde") return std::make_unique<DpmppSde>(options.eta);
  return nullptr;
}

}  // namespace mos::diffusion
