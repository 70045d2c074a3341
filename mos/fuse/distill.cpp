#include "mos/fuse/distill.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

#include "mos/concepts/lora.h"
#include "mos/fuse/course.h"
#include "mos/fuse/taught_pairs.h"
#include "mos/train/adamw.h"
#include "mos/train/draws.h"

namespace mos::fuse {

using concepts::LayerUpdates;
using torch::Tensor;

namespace {

constexpr std::int64_t kWarmup = 10;      // steps
constexpr std::uint64_t kLessonDraw = 1;  // purpose of the draws
constexpr double kPast = 0.99;            // of squared gradients: a few hundred steps are all

/// Rises, then falls along half a cosine.
double rate_factor(std::int64_t step, std::int64_t steps) {
  const double rise = std::min(1.0, static_cast<double>(step + 1) / kWarmup);
  const double done = static_cast<double>(step) / static_cast<double>(steps);
  return rise * 0.5 * (1.0 + std::cos(std::numbers::pi * done));
}

/// The courses of all concepts that are taught.
class School {
 public:
  /// Refers to all of them.
  School(const DistillInputs& inputs, const DistillOptions& options, StageProgress& progress)
      : unet_(inputs.model.unet), seed_(inputs.seed), options_(options), progress_(progress) {
    for (std::size_t i = 0; i < inputs.lessons.size(); ++i) {
      if (inputs.lessons[i].count() > 0) courses_.emplace_back(inputs, i);
    }
    for (const auto& course : courses_) whole_weight_ += course.weight();
  }

  /// Trains what is attached.
  void teach(TaughtPairs& attached) {
    // Factors are what was solved for, and shall not shrink.
    train::AdamW optimiser(attached.groups(options_.distill_rate),
                           {.beta2 = kPast, .weight_decay = 0.0});
    const torch::AutoGradMode gradients(true);
    for (std::int64_t step = 0; step < options_.distill_steps; ++step) {
      const auto calls = batch(step);
      const auto all = calls.count(), at_once = options_.distill_micro_batch;
      for (std::int64_t from = 0; from < all; from += at_once) {
        error(calls.narrow(from, std::min(at_once, all - from))).backward();
      }
      optimiser.step(rate_factor(step, options_.distill_steps));
      progress_.step("distilling", static_cast<std::size_t>(step + 1),
                     static_cast<std::size_t>(options_.distill_steps));
    }
  }

  /// By course.
  std::vector<double> distances() const {
    const torch::NoGradGuard no_grad;
    std::int64_t done = 0, whole = 0;
    for (const auto& course : courses_) whole += course.aside_count();
    std::vector<double> result;
    for (const auto& course : courses_) {
      double& sum = result.emplace_back();
      const auto at_once = options_.distill_micro_batch;
      for (std::int64_t from = 0; from < course.aside_count(); from += at_once) {
        const auto count = std::min(at_once, course.aside_count() - from);
        sum += error(course.aside(from, count)).item<double>();
        done += count;
        progress_.step("measuring", static_cast<std::size_t>(done),
                       static_cast<std::size_t>(whole));
      }
    }
    return result;
  }

  /// Of all concepts, as they count.
  double whole(const std::vector<double>& distances) const {
    double sum = 0.0;
    for (std::size_t i = 0; i < courses_.size(); ++i) sum += courses_[i].weight() * distances[i];
    return sum;
  }

  std::vector<Distance> told(const std::vector<double>& before,
                             const std::vector<double>& after) const {
    std::vector<Distance> result;
    for (std::size_t i = 0; i < courses_.size(); ++i) {
      result.push_back({.concept_number = courses_[i].concept_number(),
                        .weight = courses_[i].weight(),
                        .before = before[i],
                        .after = after[i]});
    }
    return result;
  }

 private:
  /// Some calls of every concept.
  LessonCalls batch(std::int64_t step) const {
    const auto each = options_.distill_batch;
    std::vector<LessonCalls> parts;
    for (std::size_t i = 0; i < courses_.size(); ++i) {
      const auto index = static_cast<std::uint64_t>(step) * courses_.size() + i;
      auto generator = train::generator_for(seed_, kLessonDraw, index);
      const auto share = courses_[i].weight() / whole_weight_;
      parts.push_back(courses_[i].drawn(each, share / static_cast<double>(each), generator));
    }
    return cat(parts);
  }

  /// Σ over the calls of weight · mean square, float64.
  Tensor error(const LessonCalls& calls) const {
    auto unet = unet_;
    const auto says = unet->forward(calls.noisy, calls.timestep, calls.text);
    const auto errors =
        (says.to(torch::kFloat64) - calls.said.to(torch::kFloat64)).square().flatten(1).mean(1);
    return (errors * calls.weight).sum();
  }

  nn::UNet2DConditionModel unet_;
  std::uint64_t seed_;
  const DistillOptions& options_;
  StageProgress& progress_;
  std::vector<Course> courses_;
  double whole_weight_ = 0.0;
};

}  // namespace

Distilled distill(const DistillInputs& inputs, const LayerUpdates& updates,
                  const DistillOptions& options, StageProgress& progress) {
  const SplitUpdates parts(updates, inputs.model.device());
  if (parts.all_zero()) return {.updates = updates, .distances = {}};
  auto unet = inputs.model.unet;
  const concepts::ScopedMerge rest(*unet, parts.rest, 1.0, "the fused update");
  School school(inputs, options, progress);
  TaughtPairs attached(unet, parts.pairs, inputs.dtype);
  const auto before = school.distances();
  school.teach(attached);
  const auto after = school.distances();
  // Anything else than less is no gain, NaN among it.
  if (school.whole(after) < school.whole(before)) {
    return {.updates = parts.put_back(updates), .distances = school.told(before, after)};
  }
  return {.updates = updates, .distances = school.told(before, before)};
}

}  // namespace mos::fuse
