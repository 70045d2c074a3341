#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "mos/diffusion/denoise.h"
#include "mos/region/sample.h"

namespace mos::jobs {

/// Times of a few steps of painting, pass by pass (a second pass is on a larger canvas), and what
/// they say about all of them.
class PaintTrial {
 public:
  /// `steps` were asked of each pass, and all of them are taken.
  explicit PaintTrial(std::int64_t steps) : steps_(steps) {}

  /// A call of the network that took `seconds`. Every pass begins with index 0.
  void add(const diffusion::DenoiseStep& call, double seconds);

  /// What a pass is to be in earnest.
  struct Wanted {
    std::int64_t steps = 0;
    double share = 1.0;  ///< Of the steps that are taken.
  };

  /// Of all passes: the first call of each as it was, the rest like its last.
  double seconds(const std::vector<Wanted>& passes) const;
  /// "measured on 3 of 20 steps, 0.05 s each, and on 3 of 9 of the second pass, 0.20 s each".
  std::string measured(const std::vector<Wanted>& passes) const;

 private:
  struct Pass {
    double first = 0.0, last = 0.0;
    std::int64_t calls = 0;
  };

  std::int64_t steps_;
  std::vector<Pass> passes_;
};

/// The passes that pictures of `options` take.
std::vector<PaintTrial::Wanted> passes_of(const region::SampleOptions& options);

/// Makes `options` a trial of one batch of up to `batch` pictures; the steps that it has left.
std::int64_t shorten(region::SampleOptions& options, std::int64_t batch);

}  // namespace mos::jobs
