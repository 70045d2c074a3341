#include "mos/pretrain/fidelity.h"

#include <fmt/core.h>

#include "mos/base/error.h"

namespace mos::pretrain {

using torch::Tensor;

namespace {

struct Moments {
  Tensor mean;        // [D]
  Tensor covariance;  // [D,D], unbiased
};

Moments moments_of(const Tensor& features) {
  if (features.size(0) < 2) {
    throw Error(ErrorKind::kUsage,
                fmt::format("a Fréchet distance was asked for with {} pictures on one side; it "
                            "needs at least 2",
                            features.size(0)));
  }
  const auto x = features.to(torch::kFloat64);
  const auto mean = x.mean(0);
  const auto centred = x - mean;
  return {mean, centred.t().mm(centred) / static_cast<double>(x.size(0) - 1)};
}

/// The symmetric root of a matrix without negative eigenvalues.
Tensor root(const Tensor& matrix) {
  const auto [values, vectors] = at::linalg_eigh(matrix);
  return (vectors * values.clamp_min(0.0).sqrt()).mm(vectors.t());
}

}  // namespace

double frechet_distance(const Tensor& a, const Tensor& b) {
  const auto first = moments_of(a), second = moments_of(b);
  // C₁C₂ has the eigenvalues of C₁^½ C₂ C₁^½, which is symmetric.
  const auto half = root(first.covariance);
  const auto product = half.mm(second.covariance).mm(half);
  const auto shared = at::linalg_eigvalsh(product).clamp_min(0.0).sqrt().sum();
  const auto apart = (first.mean - second.mean).square().sum();
  return (apart + first.covariance.trace() + second.covariance.trace() - 2.0 * shared)
      .item<double>();
}

double laplacian_energy(const Tensor& pictures) {
  const auto weights = torch::tensor({0.299, 0.587, 0.114}) / 255.0;
  const auto light = pictures.to(torch::kFloat32).matmul(weights.to(torch::kFloat32));  // [B,H,W]
  const auto rows = light.size(1) - 2, columns = light.size(2) - 2;
  const auto moved = [&](std::int64_t down, std::int64_t right) {
    return light.narrow(1, down, rows).narrow(2, right, columns);
  };
  const auto laplacian = moved(0, 1) + moved(2, 1) + moved(1, 0) + moved(1, 2) - 4.0 * moved(1, 1);
  return laplacian.to(torch::kFloat64).square().mean().item<double>();
}

}  // namespace mos::pretrain
