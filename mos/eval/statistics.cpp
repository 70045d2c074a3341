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
  const auto table = values.to(torch::kFloat64);
  const auto prompts = table.size(0), seeds = table.size(1);
  auto generator = seeded_generator(options.seed);
  const auto of_prompts = draws(options.resamples, prompts, generator);
  const auto of_seeds = draws(options.resamples, seeds, generator);
  const auto sums = (of_prompts.matmul(table) * of_seeds).sum(1);
  const auto means = std::get<0>((sums / static_cast<double>(prompts * seeds)).sort());
  const auto last = static_cast<double>(options.resamples - 1);
  const auto at = [&](double share) {  // the nearest of the resamples: no mean that none has
    return means[std::llround(share * last)].item<double>();
  };
  const double beyond = (1.0 - options.level) / 2.0;
  return {table.mean().item<double>(), at(beyond), at(1.0 - beyond)};
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
