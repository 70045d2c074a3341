#include <cmath>
#include <deque>

#include "mos/diffusion/sigma/sigma_method.h"

/// Methods that remember what the network said in the steps before.
namespace mos::diffusion {

using torch::Tensor;

namespace {

/// Pictures of the last steps with the length h = log(from/to) of each step, newest first.
class Memory {
 public:
  explicit Memory(std::size_t size) : size_(size) {}
  void add(const Tensor& denoised, double length) {
    steps_.push_front({denoised, length});
    if (steps_.size() > size_) steps_.pop_back();
  }
  void clear() { steps_.clear(); }
  std::size_t size() const { return steps_.size(); }
  const Tensor& denoised(std::size_t age) const { return steps_[age].denoised; }
  double length(std::size_t age) const { return steps_[age].length; }

 private:
  struct Step {
    Tensor denoised;
    double length;
  };
  std::size_t size_;
  std::deque<Step> steps_;
};

double length_of(const SigmaStep& step) { return std::log(step.from / step.to); }

/// DPM-Solver++(2M) (arXiv 2211.01095, algorithm 2).
class Dpmpp2m : public SigmaMethod {
 public:
  Tensor begin(const SigmaStep& step, const Tensor& sample, const Tensor& denoised,
               const NoiseSource& /*noise*/) override {
    if (step.to == 0) return denoised;
    const double h = length_of(step);
    auto target = denoised;
    if (memory_.size() > 0) {
      const double half = 0.5 * h / memory_.length(0);
      target = (1.0 + half) * denoised - half * memory_.denoised(0);
    }
    memory_.add(denoised, h);
    return (step.to / step.from) * sample - std::expm1(-h) * target;
  }
  void forget() override { memory_.clear(); }

 private:
  Memory memory_{1};
};

/// What the SDE of DPM-Solver++ leaves of the sample over a step of length h, and the noise that it
/// adds: with η the drift runs (1 + η) times as fast (arXiv 2211.01095, section 5).
struct SdeStep {
  SdeStep(const SigmaStep& step, double eta)
      : h(length_of(step)),
        drift(h * (1.0 + eta)),
        kept(std::exp(-drift)),
        noise(step.to * std::sqrt(-std::expm1(-2.0 * eta * h))),
        span(step.until(step.to)) {}
  double h, drift, kept, noise;
  NoiseSpan span;

  Tensor with_noise(const Tensor& moved, const NoiseSource& source) const {
    return noise > 0 ? moved + noise * source.over(span, moved) : moved;
  }
};

class Dpmpp2mSde : public SigmaMethod {
 public:
  explicit Dpmpp2mSde(const SigmaMethodOptions& options) : eta_(options.eta), heun_(options.heun) {}

  Tensor begin(const SigmaStep& step, const Tensor& sample, const Tensor& denoised,
               const NoiseSource& noise) override {
    if (step.to == 0) return denoised;
    const SdeStep sde(step, eta_);
    auto moved = sde.kept * sample + (1.0 - sde.kept) * denoised;
    if (memory_.size() > 0) {
      const double gain = heun_ ? 1.0 - (1.0 - sde.kept) / sde.drift : 0.5 * (1.0 - sde.kept);
      const double ratio = memory_.length(0) / sde.h;
      moved = moved + (gain / ratio) * (denoised - memory_.denoised(0));
    }
    memory_.add(denoised, sde.h);
    return sde.with_noise(moved, noise);
  }
  void forget() override { memory_.clear(); }
  bool is_stochastic() const override { return eta_ > 0; }

 private:
  double eta_;
  bool heun_;
  Memory memory_{1};
};

/// The third order of the same: first and second differences of the last three pictures, weighted
/// with φ_2 and φ_3 of the exponential integrator.
class Dpmpp3mSde : public SigmaMethod {
 public:
  explicit Dpmpp3mSde(double eta) : eta_(eta) {}

  Tensor begin(const SigmaStep& step, const Tensor& sample, const Tensor& denoised,
               const NoiseSource& noise) override {
    if (step.to == 0) return denoised;
    const SdeStep sde(step, eta_);
    auto moved = sde.kept * sample + (1.0 - sde.kept) * denoised;
    const double phi2 = 1.0 - (1.0 - sde.kept) / sde.drift;
    if (memory_.size() == 1) {
      const double ratio = memory_.length(0) / sde.h;
      moved = moved + (phi2 / ratio) * (denoised - memory_.denoised(0));
    } else if (memory_.size() == 2) {
      const double near = memory_.length(0) / sde.h, far = memory_.length(1) / sde.h;
      const auto slope = (denoised - memory_.denoised(0)) / near;
      const auto former = (memory_.denoised(0) - memory_.denoised(1)) / far;
      const auto bend = (slope - former) / (near + far);
      const double phi3 = phi2 / sde.drift - 0.5;
      moved = moved + phi2 * (slope + near * bend) - phi3 * bend;
    }
    memory_.add(denoised, sde.h);
    return sde.with_noise(moved, noise);
  }
  void forget() override { memory_.clear(); }
  bool is_stochastic() const override { return eta_ > 0; }

 private:
  double eta_;
  Memory memory_{2};
};

/// Linear multistep (Adams-Bashforth on uneven steps): the polynomial through the last slopes,
/// integrated over the step.
class Lms : public SigmaMethod {
 public:
  explicit Lms(std::size_t order) : order_(order) {}

  Tensor begin(const SigmaStep& step, const Tensor& sample, const Tensor& denoised,
               const NoiseSource& /*noise*/) override {
    slopes_.push_front((sample - denoised) / step.from);
    sigmas_.push_front(step.from);
    if (slopes_.size() > order_) {
      slopes_.pop_back();
      sigmas_.pop_back();
    }
    auto moved = sample;
    for (std::size_t i = 0; i < slopes_.size(); ++i) {
      moved = moved + integral_of_basis(i, step) * slopes_[i];
    }
    return moved;
  }
  void forget() override {
    slopes_.clear();
    sigmas_.clear();
  }

 private:
  /// ∫ from→to of the Lagrange polynomial that is 1 at sigmas_[i] and 0 at the others. Three points
  /// of Gauss are exact up to degree 5.
  double integral_of_basis(std::size_t i, const SigmaStep& step) const {
    const double root = std::sqrt(0.6);
    const double nodes[] = {-root, 0.0, root}, weights[] = {5.0 / 9.0, 8.0 / 9.0, 5.0 / 9.0};
    const double half = (step.to - step.from) / 2.0, middle = (step.to + step.from) / 2.0;
    double sum = 0.0;
    for (std::size_t n = 0; n < 3; ++n) {
      double value = weights[n];
      for (std::size_t k = 0; k < sigmas_.size(); ++k) {
        if (k != i) value *= (middle + half * nodes[n] - sigmas_[k]) / (sigmas_[i] - sigmas_[k]);
      }
      sum += value;
    }
    return sum * half;
  }

  std::size_t order_;
  std::deque<Tensor> slopes_;
  std::deque<double> sigmas_;
};

}  // namespace

std::unique_ptr<SigmaMethod> make_multistep_method(const std::string& name,
                                                   const SigmaMethodOptions& options) {
  constexpr std::int64_t kLmsOrder = 4;  // everybody's
  if (name == "dpm++2m") return std::make_unique<Dpmpp2m>();
  if (name == "dpm++2m_sde") return std::make_unique<Dpmpp2mSde>(options);
  if (name == "dpm++3m_sde") return std::make_unique<Dpmpp3mSde>(options.eta);
  if (name == "lms") {
    return std::make_unique<Lms>(
        static_cast<std::size_t>(options.order > 0 ? options.order : kLmsOrder));
  }
  return nullptr;
}

}  // namespace mos::diffusion
