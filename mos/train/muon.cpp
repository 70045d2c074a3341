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
  const bool tall = matrix.size(0) > matrix.size(1);
  auto x = (matrix / (matrix.norm() + 1e-7)).to(torch::kBFloat16);
  if (tall) x = x.t();
  for (int i = 0; i < kIterations; ++i) {
    const auto a = torch::mm(x, x.t());
    const auto b = torch::addmm(a, a, a, kB, kC);
    x = torch::addmm(x, b, x, kA, 1.0);
  }
  return (tall ? x.t() : x).to(torch::kFloat32);
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
