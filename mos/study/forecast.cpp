#include <fmt/core.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "mos/base/describe.h"
#include "mos/base/log.h"
#include "mos/base/stopwatch.h"
#include "mos/base/temporary.h"
#include "mos/fuse/method.h"
#include "mos/jobs/tune.h"
#include "mos/nn/compute.h"
#include "mos/study/ground.h"
#include "mos/study/study.h"
#include "mos/study/timings.h"
#include "mos/study/workbench.h"

namespace mos::study {

namespace fs = std::filesystem;

namespace {

/// Seconds of what was not measured yet, from a few real steps.
class Trials {
 public:
  Trials(const StudyOptions& options, const jobs::JobContext& context)
      : options_(options), context_(context) {}

  /// Of one picture in a step.
  double tuning(const TuneCell& cell) {
    auto options = cell.options;
    const jobs::TuneJob job{.data = cell.subject->folder.string(),
                            .out = (temporary_folder() / "mos-study.safetensors").string(),
                            .base = options_.base,
                            // Not beside the concepts, whose folder need not be writable.
                            .prior_folder = (temporary_folder() / "mos-study-prior").string(),
                            .device = options_.device,
                            .options = options};
    const auto whole = jobs::estimate(job, context_);
    memory_ = std::max(memory_, whole.memory);
    return whole.seconds / static_cast<double>(options.optimiser.steps * options.optimiser.batch);
  }

  /// Of one picture, with guidance.
  double painting_step() {
    if (painting_ > 0.0) return painting_;
    const auto compute = nn::compute_named(options_.device, options_.dtype);
    auto session = session::open_session(session::SessionOptions{
        .base = options_.base, .device = compute.device, .dtype = compute.dtype});
    region::SampleOptions sample;
    sample.count = std::min<std::int64_t>(options_.pictures, 8);
    sample.guidance_scale = options_.guidance_scale;
    sample.scheduler = options_.scheduler;
    sample.sampler.perturbed_attention = options_.perturbed_attention.value();
    const auto seconds_of = [&](std::int64_t steps) {
      sample.steps = steps;
      const Stopwatch watch;
      region::sample_pictures(session.model, session.tokens, {.prompt = "a photo"}, sample);
      return watch.seconds();
    };
    // What a picture takes besides its steps is in both, and in neither's difference.
    const double few = seconds_of(kFewSteps), more = seconds_of(kMoreSteps);
    painting_ = std::max(0.0, more - few) / static_cast<double>(kMoreSteps - kFewSteps);
    painting_ /= static_cast<double>(sample.count);
    return painting_;
  }

  /// Of one concept: inputs are recorded over 20 steps without guidance. In distillation it paints
  /// its lessons, and a trained call takes about three, each half of a guided step.
  double merging(const fuse::FuseOptions& options) {
    constexpr double kRecording = 20.0, kTrainedCall = 1.5;
    const auto needs = fuse::make_method(options.method, options.of_method)->needs();
    double steps = needs.inputs == fuse::Recorded::kEverything ? kRecording : 0.0;
    if (const auto& lessons = needs.distillation) {
      const auto pictures =
          static_cast<std::int64_t>(lessons->lesson_prompts.size()) * lessons->lessons;
      steps += static_cast<double>(pictures * lessons->lesson_steps) +
               kTrainedCall * static_cast<double>(lessons->distill_steps * lessons->distill_batch);
    }
    return steps * painting_step() + 0.5;
  }

  std::int64_t memory() const { return memory_; }

 private:
  static constexpr std::int64_t kFewSteps = 2, kMoreSteps = 5;

  const StudyOptions& options_;
  const jobs::JobContext& context_;
  double painting_ = 0.0;
  std::int64_t memory_ = 0;
};

/// Counts cells and adds up what they will take.
class Counting {
 public:
  Counting(const Setting& setting, const jobs::JobContext& context)
      : options_(setting.options),
        store_(fs::path(options_.out) / "cells"),
        timings_(fs::path(options_.out) / "timings.json"),
        trials_(options_, context) {}

  Forecast of(const Plan& plan) {
    for (const auto& [key, cell] : plan.tunings()) {
      count(cell.cell, work_of(cell), [&, &one = cell] { return trials_.tuning(one); });
    }
    for (const auto& [key, cell] : plan.merges()) {
      count(cell.cell, work_of(cell), [&, &one = cell] { return trials_.merging(one.options); });
    }
    for (const auto& [key, cell] : plan.paintings()) {
      count(cell.cell, work_of(cell, options_), [&] { return trials_.painting_step(); });
    }
    constexpr double kMeasuring = 0.1;
    for (const auto& [key, cell] : plan.measures()) {
      count(cell.cell, {"measure"}, [] { return kMeasuring; });
    }
    double seconds = 0.0;
    for (const auto& [kind, of_kind] : forecast_.kinds) seconds += of_kind.seconds;
    forecast_.whole = jobs::estimate_of(
        seconds, tried_.empty() ? "from the cells that are done" : "measured on a few steps");
    return forecast_;
  }

 private:
  template <class Trial>
  void count(const Cell& cell, const Work& work, Trial trial) {
    auto& of_kind = forecast_.kinds[cell.kind];
    const auto state = store_.state(cell);
    if (state == CellStore::State::kDone) {
      ++of_kind.done;
      return;
    }
    ++of_kind.missing;
    if (state == CellStore::State::kOutdated) ++of_kind.outdated;
    auto rate = timings_.seconds_per_unit(work.name, 0.0);
    if (rate <= 0.0) {
      const auto found = tried_.find(work.name);
      rate = found != tried_.end() ? found->second : tried_[work.name] = trial();
    }
    of_kind.seconds += rate * work.units;
  }

  const StudyOptions& options_;
  CellStore store_;
  Timings timings_;
  Trials trials_;
  Forecast forecast_;
  std::map<std::string, double> tried_;
};

}  // namespace

Forecast forecast(const StudyOptions& given, const jobs::JobContext& context) {
  const log::ScopedSink sink(context.log);
  const auto options = complete_options(given);
  check(options);
  const Setting setting(options);
  const auto basis = basis_of(options);
  Plan plan(setting.ground, basis);
  for (const auto& part : options.parts) add_part(setting.ground, part, plan);
  return Counting(setting, context).of(plan);
}

}  // namespace mos::study
