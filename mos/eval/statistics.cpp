#include "mos/eval/statistics.h"

#include <algorithm>
#include <cmath>

#include "mos/base/random.h"

namespace mos::eval {

using torch::Tensor;

namespace {

/// How often each of `count` is in a sample of as many, for every resample: float64 [R,count].
Tensor draws(std::int64_t resamples, std::int64_t count, at::Generator& generator) {
  const auto drawn = randint(0, count, {resamples, count}, generator);
  return torch::zeros({resamples, count}, torch::kFloat64)
      .scatter_add_(1, drawn, torch::ones({resamples, count}, torch::kFloat64));
}

}  // namespace

Interval bootstrap(const Tensor& values, const BootstrapOptions& options) {
  const auto given = values.to(torch::kFloat64);
  const auto tables = given.dim() == 2 ? given.unsqueeze(0) : given;
  auto generator = seeded_generator(options.seed);
  const auto of_prompts = draws(options.resamples, tables.size(1), generator);
  const auto of_seeds = draws(options.resamples, tables.size(2), generator);
  const auto of_tunings = draws(options.resamples, tables.size(0), generator);
  auto sums = torch::zeros({options.resamples}, torch::kFloat64);
  for (std::int64_t t = 0; t < tables.size(0); ++t) {
    sums += of_tunings.select(1, t) * (of_prompts.matmul(tables[t]) * of_seeds).sum(1);
  }
  const auto means = std::get<0>((sums / static_cast<double>(tables.numel())).sort());
  const auto last = static_cast<double>(options.resamples - 1);
  const auto at = [&](double share) {  // the nearest of the resamples: no mean that none has
    return means[std::llround(share * last)].item<double>();
  };
  const double beyond = (1.0 - options.level) / 2.0;
  return {tables.mean().item<double>(), at(beyond), at(1.0 - beyond)};
}

Interval share_of(std::int64_t successes, std::int64_t trials) {
  if (trials < 1) return {0.0, 0.0, 1.0};
  constexpr double kZ = 1.959963984540054;  // of 95 %
  const auto n = static_cast<double>(trials);
  const double share = static_cast<double>(successes) / n, squared = kZ * kZ / n;
  const double middle = (share + squared / 2.0) / (1.0 + squared);
  const double half =
      kZ / (1.0 + squared) * std::sqrt(share * (1.0 - share) / n + squared / (4.0 * n));
  return {share, std::max(0.0, middle - half), std::min(1.0, middle + half)};
}

Json to_json(const Interval& interval) {
  return {{"mean", interval.mean}, {"low", interval.low}, {"high", interval.high}};
}

}  // namespace mos::eval
