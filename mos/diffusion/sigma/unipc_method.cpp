#include <ATen/Functions.h>

#include <algorithm>
#include <cmath>
#include <deque>

#include "mos/diffusion/sigma/sigma_method.h"

/// UniPC (arXiv 2302.04867) on pictures ("predict_x0"): a predictor of order p, and a corrector
/// that uses the same call of the network again, at no cost.
namespace mos::diffusion {

using torch::Tensor;

namespace {

/// The solution of a small system by LibTorch's LU.
std::vector<double> solve(const std::vector<std::vector<double>>& rows,
                          const std::vector<double>& right) {
  const auto n = static_cast<std::int64_t>(right.size());
  auto matrix = torch::empty({n, n}, torch::kFloat64);
  auto vector = torch::empty({n}, torch::kFloat64);
  for (std::int64_t r = 0; r < n; ++r) {
    vector[r] = right[static_cast<std::size_t>(r)];
    for (std::int64_t c = 0; c < n; ++c) {
      matrix[r][c] = rows[static_cast<std::size_t>(r)][static_cast<std::size_t>(c)];
    }
  }
  const auto solved = at::linalg_solve(matrix, vector).contiguous();
  return {solved.data_ptr<double>(), solved.data_ptr<double>() + n};
}

class UniPc : public SigmaMethod {
 public:
  UniPc(std::size_t order, bool bh1) : order_(order), bh1_(bh1) {}

  Tensor begin(const SigmaStep& step, const Tensor& sample, const Tensor& denoised,
               const NoiseSource& /*noise*/) override {
    auto corrected = sample;
    if (!pictures_.empty()) corrected = correct(denoised);
    pictures_.push_front({denoised, std::log(step.from)});
    if (pictures_.size() > order_) pictures_.pop_back();
    step_ = step;
    sample_ = corrected;
    used_ = std::min(pictures_.size(), static_cast<std::size_t>(step.left));  // less at the end
    if (step.to == 0) return denoised;
    return predict();
  }
  void forget() override { pictures_.clear(); }

 private:
  struct Picture {
    Tensor denoised;
    double log_sigma;
  };

  /// Everything about the step from the newest picture that predictor and corrector share.
  struct Terms {
    std::vector<double> ratios;             ///< r_i: where the older pictures lie, in steps.
    std::vector<Tensor> differences;        ///< (D_i − D_0) / r_i
    std::vector<std::vector<double>> rows;  ///< Powers of the ratios and of 1.
    std::vector<double> right;              ///< b_i
    double gain = 0.0;                      ///< B(h)
    Tensor base;                            ///< The step of first order.
  };

  Terms terms() const {
    Terms terms;
    const double h = std::log(step_.from / step_.to), expm1 = std::expm1(-h);
    const auto& newest = pictures_.front().denoised;
    for (std::size_t i = 1; i < used_; ++i) {
      const double ratio = (pictures_.front().log_sigma - pictures_[i].log_sigma) / h;
      terms.ratios.push_back(ratio);
      terms.differences.push_back((pictures_[i].denoised - newest) / ratio);
    }
    terms.ratios.push_back(1.0);
    terms.gain = bh1_ ? -h : expm1;
    double phi = expm1 / -h - 1.0, factorial = 1.0;
    for (std::size_t i = 0; i < terms.ratios.size(); ++i) {
      std::vector<double> row;
      for (const double ratio : terms.ratios) row.push_back(std::pow(ratio, i));
      terms.rows.push_back(std::move(row));
      terms.right.push_back(phi * factorial / terms.gain);
      factorial *= static_cast<double>(i + 2);
      phi = phi / -h - 1.0 / factorial;
    }
    terms.base = (step_.to / step_.from) * sample_ - expm1 * newest;
    return terms;
  }

  Tensor predict() const {
    auto now = terms();
    auto moved = now.base;
    const auto older = now.differences.size();
    if (older == 0) return moved;
    std::vector<double> weights = {0.5};  // the authors' choice for order 2
    if (older > 1) {
      now.rows.pop_back();
      now.right.pop_back();
      for (auto& row : now.rows) row.pop_back();
      weights = solve(now.rows, now.right);
    }
    for (std::size_t i = 0; i < older; ++i) {
      moved = moved - (now.gain * weights[i]) * now.differences[i];
    }
    return moved;
  }

  /// The former step again, now that the picture at its end is known.
  Tensor correct(const Tensor& denoised) const {
    const auto now = terms();
    const auto older = now.differences.size();
    const auto weights = older == 0 ? std::vector<double>{0.5} : solve(now.rows, now.right);
    auto moved = now.base;
    for (std::size_t i = 0; i < older; ++i) {
      moved = moved - (now.gain * weights[i]) * now.differences[i];
    }
    return moved - (now.gain * weights.back()) * (denoised - pictures_.front().denoised);
  }

  std::size_t order_;
  bool bh1_;
  std::deque<Picture> pictures_;  ///< Newest first.
  SigmaStep step_;
  std::size_t used_ = 0;  ///< Pictures that the step is made of.
  Tensor sample_;         ///< Corrected, at the beginning of step_.
};

}  // namespace

std::unique_ptr<SigmaMethod> make_unipc_method(const SigmaMethodOptions& options) {
  constexpr std::int64_t kOrder = 2;
  const auto order = options.order > 0 ? options.order : kOrder;
  return std::make_unique<UniPc>(static_cast<std::size_t>(order), options.bh1);
}

}  // namespace mos::diffusion
