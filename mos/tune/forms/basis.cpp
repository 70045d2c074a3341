#include <fmt/core.h>

#include <algorithm>

#include "mos/base/error.h"
#include "mos/base/random.h"
#include "mos/tune/draws.h"
#include "mos/tune/forms/forms.h"

namespace mos::tune::forms {

using torch::Tensor;

namespace {

/// The orthogonal factor of N(0,1) numbers, with the signs that make it unique: the same matrix in
/// every process, whatever LAPACK it has. float64.
Tensor basis(std::int64_t size, std::uint64_t seed) {
  auto generator = generator_for(seed, Draw::kBasis, static_cast<std::uint64_t>(size));
  const auto numbers = randn({size, size}, generator).to(torch::kFloat64);
  const auto [q, r] = torch::linalg_qr(numbers);
  return q * torch::where(r.diagonal() < 0, -1.0, 1.0);
}

}  // namespace

void check_basis(std::int64_t inputs, std::int64_t count) {
  if (count > inputs) {
    throw Error(ErrorKind::kUsage,
                fmt::format("\"rank\" is {}, but a layer with {} inputs has an orthogonal basis of "
                            "no more rows than that",
                            count, inputs));
  }
}

Tensor basis_rows(std::int64_t inputs, std::int64_t count, std::uint64_t basis_seed,
                  at::Generator& generator) {
  check_basis(inputs, count);
  auto order = permutation(generator, inputs);
  order.resize(static_cast<std::size_t>(count));
  std::sort(order.begin(), order.end());
  return basis(inputs, basis_seed)
      .index_select(0, torch::tensor(order, torch::kInt64))
      .to(torch::kFloat32);
}

}  // namespace mos::tune::forms
