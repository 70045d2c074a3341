#pragma once

#include <torch/types.h>

#include <cstdint>

#include "mos/base/json.h"

/// How sure a mean is that was measured on some prompts and some seeds, and perhaps of several
/// tunings.
namespace mos::eval {

/// A mean and between which bounds it would lie on other prompts, seeds and tunings of the same
/// kind.
struct Interval {
  double mean = 0.0;
  double low = 0.0, high = 0.0;
};

struct BootstrapOptions {
  std::int64_t resamples = 2000;
  double level = 0.95;     ///< Share of the resamples between the bounds.
  std::uint64_t seed = 0;  ///< Of their draws.
};

/// The mean of `values` [P,S] or [T,P,S]: a table for each tuning, in it a row for each prompt, a
/// column for each seed, which all tables share. Bounds are percentiles of the means of resamples,
/// each of T tunings, P prompts and S seeds drawn with replacement, independently of each other. To
/// compare two methods give their difference: pictures of one prompt and seed stand in pairs then.
/// Of several concepts give the mean, weighted as it will be told: what is drawn is drawn for all
/// of them at once. Required: T, P and S are 1 at least. What there is one of adds nothing to the
/// bounds.
Interval bootstrap(const torch::Tensor& values, const BootstrapOptions& options = {});

/// The interval of a share: of `successes` among `trials`, by Wilson's score at 95 %. All of 0 to 1
/// for no trials.
Interval share_of(std::int64_t successes, std::int64_t trials);

Json to_json(const Interval& interval);

}  // namespace mos::eval
