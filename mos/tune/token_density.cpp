#include "mos/tune/token_density.h"

#include <cmath>
#include <vector>

namespace mos::tune {

using torch::Tensor;

namespace {

constexpr std::int64_t kTerms = 24;

/// [N,C]: Σ_v exp(−ê²/2) êⁿ/n! over the entries of `scaled` [V,C] that are `inside`.
Tensor coefficients(const Tensor& scaled, const Tensor& inside) {
  auto term = torch::exp(-0.5 * scaled.square()) * inside;
  std::vector<Tensor> sums;
  for (std::int64_t n = 0; n < kTerms; ++n) {
    if (n > 0) term = term * scaled / static_cast<double>(n);
    sums.push_back(term.sum(0));
  }
  return torch::stack(sums);
}

}  // namespace

TokenDensity::TokenDensity(const Tensor& vocabulary, double bandwidth) : bandwidth_(bandwidth) {
  constexpr std::int64_t kWordsAtOnce = 4096;  // bounds the memory of what is float64
  torch::NoGradGuard no_grad;
  const double height = 1.0 / (std::sqrt(2 * M_PI) * bandwidth);
  const double share = height / static_cast<double>(vocabulary.size(0));
  for (const auto& some : vocabulary.detach().split(kWordsAtOnce)) {
    const auto words = some.to(torch::kCPU, torch::kFloat64) / bandwidth;
    const auto numbers = torch::round(words / 2);
    const auto first = std::llround(numbers.min().item<double>());
    const auto last = std::llround(numbers.max().item<double>());
    for (auto k = first; k <= last; ++k) {
      const auto inside = numbers == static_cast<double>(k);
      if (!inside.any().item<bool>()) continue;
      const auto sums = coefficients(words - 2.0 * static_cast<double>(k), inside) * share;
      auto& box = boxes_[k];
      box = box.defined() ? box + sums : sums;
    }
  }
}

Tensor TokenDensity::operator()(const Tensor& rows) const {
  const auto scaled = rows.to(torch::kFloat64) / bandwidth_;
  auto density = torch::zeros({rows.size(0)}, scaled.options());
  for (const auto& [k, coefficient] : boxes_) {
    const auto x = scaled - 2.0 * static_cast<double>(k);  // [R,C]
    const auto of_box = coefficient.to(rows.device());
    auto polynomial = of_box[kTerms - 1].expand_as(x);
    for (auto n = kTerms - 2; n >= 0; --n) polynomial = polynomial * x + of_box[n];  // Horner
    density = density + (torch::exp(-0.5 * x.square()) * polynomial).sum(1);
  }
  return density;
}

Tensor token_density_loss(const TokenDensity& density, const Tensor& rows) {
  return -density(rows).log().sum();
}

}  // namespace mos::tune
