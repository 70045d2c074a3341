#pragma once

#include <torch/types.h>

#include <cstdint>
#include <map>

/// How near concept rows are to the words of the vocabulary: a term of the loss that keeps them
/// there, so that a prompt does with them what it does with words (the authors' research branch,
/// losses.py: KDELoss; method of P+ and of ED-LoRA in the paper's tables).
namespace mos::tune {

/// The density of vocabulary rows, channel by channel:
///
///     p(x) = Σ_c mean_v K(x_c − E_vc),  K(u) = exp(−u²/2b²) / (√(2π) b)
///
/// with E the vocabulary [V,C] and b the bandwidth. The mean over tens of thousands of words is
/// taken once: in boxes of width 2b around centres m, with x̂ = (x_c − m)/b and ê = (E_vc − m)/b,
///
///     exp(−(x̂ − ê)²/2) = exp(−x̂²/2) · Σ_n x̂ⁿ · exp(−ê²/2) êⁿ/n!
///
/// in which the sum over v is a polynomial in x̂ for each channel. With |ê| ≤ 1 its first 24 terms
/// leave less than 1e-12 of K(0), for any x.
class TokenDensity {
 public:
  /// `vocabulary` [V,C], any float dtype.
  TokenDensity(const torch::Tensor& vocabulary, double bandwidth);

  /// p of each row: [R,C] float32 -> [R] float64, with gradients towards the rows.
  torch::Tensor operator()(const torch::Tensor& rows) const;

 private:
  double bandwidth_;
  /// By box number k, of centre 2bk: [N,C] float64, the coefficients of the channels' polynomials.
  std::map<std::int64_t, torch::Tensor> boxes_;
};

/// Σ over the rows of −log p, a float64 scalar.
torch::Tensor token_density_loss(const TokenDensity& density, const torch::Tensor& rows);

}  // namespace mos::tune
