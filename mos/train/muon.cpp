#include "mos/train/muon.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>

namespace mos::train {

using torch::Tensor;

namespace {

constexpr int kIterations = 5;
constexpr double kA = 3.4445, kB = -4.7750, kC = 2.0315;  // of the quintic iteration, as published
constexpr double kLikeAdamW = 0.2;                        // root mean square of AdamW's updates

}  // namespace

Tensor orthogonalised(const Tensor& matrix) {
  const torch::NoGradGuard no_grad;
  const bool stacked = matrix.dim() == 3;
  const bool tall = matrix.size(-2) > matrix.size(-1);
  const auto length = stacked ? matrix.norm(2, {1, 2}, /*keepdim=*/true) : matrix.norm();
  auto x = (matrix / (length + 1e-7)).to(torch::kBFloat16);
  if (tall) x = x.transpose(-2, -1);
  const auto sum = [stacked](const Tensor& summand, const Tensor& left, const Tensor& right,
                             double beta, double alpha) {
    return stacked ? torch::baddbmm(summand, left, right, beta, alpha)
                   : torch::addmm(summand, left, right, beta, alpha);
  };
  for (int i = 0; i < kIterations; ++i) {
    const auto a = torch::matmul(x, x.transpose(-2, -1));
    const auto b = sum(a, a, a, kB, kC);
    x = sum(x, b, x, kA, 1.0);
  }
  return (tall ? x.transpose(-2, -1) : x).to(torch::kFloat32);
}

double muon_scale(std::int64_t rows, std::int64_t columns) {
  return kLikeAdamW * std::sqrt(static_cast<double>(std::max(rows, columns)));
}

bool muon_suits(const std::string& name) {
  constexpr std::array<std::string_view, 4> kEnds = {"conv_in.", "conv_out.", "time_embedding.",
                                                     "embedding"};
  const bool excepted = std::any_of(kEnds.begin(), kEnds.end(), [&name](std::string_view part) {
    return name.find(part) != std::string::npos;
  });
  return name.ends_with(".weight") && !excepted;
}

}  // namespace mos::train
