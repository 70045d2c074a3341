#include "mos/jobs/fuse.h"

#include <ATen/Parallel.h>
#include <fmt/core.h>
#include <torch/version.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "mos/base/describe.h"
#include "mos/base/device.h"
#include "mos/base/error.h"
#include "mos/base/file.h"
#include "mos/base/record.h"
#include "mos/base/stopwatch.h"
#include "mos/base/version.h"
#include "mos/jobs/fuse_order.h"
#include "mos/session/output_kinds.h"

namespace mos::jobs {
namespace {

namespace fs = std::filesystem;

Json full_report(const FuseOrder& order, const fuse::FusionReport& measured) {
  Json report = {{kProgramKey, version()},
                 {"libtorch", TORCH_VERSION},
                 {"base", order.job.base},
                 {"base_read", write_options(order.job.read)},
                 {"threads", at::get_num_threads()},  // sums are rounded by their order
                 {"options", write_options(order.job.options)}};
  report.update(measured.to_json());
  for (const auto& source : order.sources) {
    auto& entry = report["sources"][source.name] = {{"phrase", source.prompt_phrase()}};
    for (const auto part : checkpoint::kTunedParts) {
      entry[fmt::format("{}_scale", folder_of(part))] = source.scale(part);
    }
  }
  return report;
}

struct Base {
  diffusion::Model model;
  std::string hash;
};

/// The base model, and what it has to say of the concepts' keys.
Base load_base(FuseOrder& order) {
  auto model = diffusion::Model::load(
      order.job.base,
      {.dtype = std::nullopt, .device = device_named(order.job.device), .read = order.job.read});
  auto hash = diffusion::model_hash(model);
  for (auto& source : order.sources) session::compare_base(source.name, source.delta, hash);
  for (auto& source : order.sources) {
    session::settle_keys(source.name, model, source.delta, source.keys, order.job.keys);
  }
  return {std::move(model), std::move(hash)};
}

/// As pairs of factors, whatever forms the concepts have.
void write_lora(const FuseOrder& order, const concepts::ConceptDelta& delta,
                const JobContext& context) {
  using concepts::HeldForms;
  const bool holds_biases = concepts::holds_biases(concepts::forms_held_by(order.lora_format));
  const auto rank = order.job.lora_rank * static_cast<std::int64_t>(order.sources.size());
  const auto reduced = concepts::reduced_to(
      holds_biases ? HeldForms::kPairsAndBiases : HeldForms::kPairs, delta, rank);
  if (reduced.layers > 0) tell_result(context, concepts::cost_text(reduced, rank));
  concepts::write_concept(order.job.lora, reduced.delta, order.lora_format,
                          {.kind = session::concept_kind()});
}

/// Writes each result whatever becomes of the others; throws what the first failure was.
class Results {
 public:
  template <class Write>
  void write(const fs::path& path, Write write) {
    try {
      write();
      written_.push_back(path);
    } catch (const Error& error) {
      if (!failure_) failure_ = error;
    }
  }

  bool any() const { return !written_.empty(); }

  std::vector<fs::path> finish(const JobContext& context) const {
    for (const auto& path : written_) tell_result(context, path.string());
    if (failure_) throw *failure_;
    return written_;
  }

 private:
  std::vector<fs::path> written_;
  std::optional<Error> failure_;
};

fuse::Needs needs_of(const fuse::FuseOptions& options) {
  return fuse::make_method(options.method, options.of_method)->needs();
}

/// How near it came, and what it could not do.
void tell_distillation(const FuseOrder& order, const fuse::FusionReport& report,
                       const JobContext& context) {
  const auto needs = needs_of(order.job.options);
  const auto distance = report.distance();
  if (!distance) {
    if (needs.distillation && needs.distillation->distill_steps > 0) {
      log::info(
          "nothing was distilled: that takes two concepts, one of them with weights of the U-Net");
    }
    return;
  }
  if (distance->after >= distance->before) {
    log::warn(
        "distillation came no nearer to the concepts' own models, so the layers stay as they "
        "were merged one by one; try a lower --distill-rate or more --distill-steps");
    return;
  }
  tell_result(context, fmt::format("distance to what the concepts' own models say: {:.4g} layer by "
                                   "layer, {:.4g} distilled",
                                   distance->before, distance->after));
  for (const auto& one : report.further()) {
    log::warn(
        fmt::format("{} is further from its own model than before ({:.4g}, now {:.4g}); try "
                    "more --lessons or --distill-steps",
                    report.concepts[one.concept_number], one.before, one.after));
  }
}

std::vector<fs::path> write_results(const FuseOrder& order, const diffusion::Model& model,
                                    const fuse::FusionResult& result, const JobContext& context) {
  const auto& job = order.job;
  const auto total = result.report.total();
  if (total.before > 0.0) {
    tell_result(context, fmt::format("error of the concepts' outputs: {:.4g} in the base model, "
                                     "{:.4g} fused{}",
                                     total.before, total.after,
                                     result.report.distances.empty() ? "" : " layer by layer"));
  }
  tell_distillation(order, result.report, context);
  log::info(fmt::format("fused in {}", result.report.measured()));
  const auto report = json_text(full_report(order, result.report), 2) + "\n";
  const bool inside = order.report_is_in_model();
  Results results;
  // The small file first: it is there even if the disk is too small for a model.
  if (!job.lora.empty()) {
    results.write(job.lora, [&] { write_lora(order, result.delta, context); });
  }
  diffusion::SaveOptions save{.existing = job.overwrite ? Existing::kReplace : Existing::kRefuse,
                              .write = {.cancel = context.cancel}};
  if (inside) save.write.notes[order.report.filename().string()] = report;
  if (!job.out.empty()) results.write(job.out, [&] { model.save(job.out, save); });
  if (!inside && results.any()) {  // of nothing there is nothing to report
    results.write(order.report,
                  [&] { write_text_file(order.report, report, {.kind = session::report_kind()}); });
  }
  return results.finish(context);
}

/// Seconds of the parts of a trial, each of one concept.
struct Trial {
  double recording = 0.0, merging = 0.0;
  double step = 0.0, step_again = 0.0;  ///< Of denoising.
  double lesson = 0.0;                  ///< A denoising step of one, of the most pictures at once.
  double distilling = 0.0;              ///< A step.
  double measuring = 0.0;               ///< Of a call, before and after.
};

/// Who stands beside the concept of a trial where one that is alone would have nothing to learn: it
/// changes nothing, and is sampled like any other.
fuse::ConceptSource bystander() { return {.name = "another", .phrase = "thing"}; }

/// The first concept with the layers of all: every concept is recorded on each layer that any of
/// them changes, one that is only an embedding, too.
fuse::ConceptSource with_layers_of_all(const std::vector<fuse::ConceptSource>& sources) {
  auto one = sources.front();
  for (const auto& source : sources) {
    for (auto [part, updates] : source.delta.updates) one.delta.updates[part].merge(updates);
  }
  return one;
}

/// The same with a few steps of everything; the first ones also warm up.
fuse::FuseOptions shortened(fuse::FuseOptions options) {
  constexpr std::int64_t kSteps = 2;
  options.record.steps = std::min(options.record.steps, kSteps);
  options.record.samples = 1;
  options.weights.clear();
  if (const auto wanted = needs_of(options).distillation) {
    options.of_method["distill_steps"] = std::min(wanted->distill_steps, kSteps);
    options.of_method["lesson_steps"] = std::min(wanted->lesson_steps, kSteps);
    options.of_method["lesson_prompts"] = {wanted->lesson_prompts.front()};
  }
  return options;
}

Trial try_one(const FuseOrder& order, diffusion::Model& model, const fuse::FuseOptions& options,
              const CancelToken* cancel) {
  Stopwatch watch;
  Trial trial;
  const auto on_step = [&](const Progress& progress) {
    const double lap = watch.lap();
    if (progress.stage == "painting lessons") {
      trial.lesson = std::max(trial.lesson, lap);
    } else if (progress.stage == "distilling") {
      trial.distilling = lap;
    } else if (progress.stage == "measuring") {
      trial.measuring += lap;
    } else if (progress.stage.starts_with("sampling")) {
      (progress.stage.find(" again (") == std::string::npos ? trial.step : trial.step_again) = lap;
    } else {
      (progress.stage.starts_with("recording") ? trial.recording : trial.merging) += lap;
    }
  };
  const auto needs = needs_of(options);
  std::vector sources = {with_layers_of_all(order.sources)};
  if (fuse::distills(needs, order.sources) && needs.kept_phrases.empty()) {
    sources.push_back(bystander());
  }
  fuse::fuse_concepts(model, sources, options, on_step, cancel);
  trial.merging += watch.lap();
  const auto concepts = static_cast<double>(sources.size() + needs.kept_phrases.size());
  trial.recording /= concepts;
  trial.distilling /= concepts;
  if (needs.distillation) {  // one picture of each was held aside, in every step
    trial.measuring /= concepts * static_cast<double>(needs.distillation->lesson_steps);
  }
  return trial;
}

/// Of one concept, from the trial's steps.
double distillation_seconds(const fuse::DistillOptions& wanted, const Trial& trial) {
  const auto at_once = wanted.lessons_at_once();
  const auto parts = (wanted.lessons + at_once - 1) / at_once;
  const auto calls =
      static_cast<double>(wanted.lesson_prompts.size()) * static_cast<double>(wanted.lesson_steps);
  return calls * (static_cast<double>(parts) * trial.lesson + trial.measuring) +
         static_cast<double>(wanted.distill_steps) * trial.distilling;
}

}  // namespace

Estimate estimate(const FuseJob& job, const JobContext& context) {
  const log::ScopedSink sink(context.log);
  Stopwatch watch;
  auto order = take_order(job, context);
  auto model = load_base(order).model;
  const double loading = watch.lap();
  fuse::check_concepts(model, order.sources, order.job.options);
  const auto options = shortened(order.job.options);
  const auto trial = try_one(order, model, options, context.cancel);
  const auto needs = needs_of(order.job.options);
  const auto concepts = static_cast<double>(order.sources.size() + needs.kept_phrases.size());
  const auto& record = order.job.options.record;
  if (trial.recording + trial.step == 0.0) {
    return estimate_of(loading + trial.merging * concepts, "measured on one concept");
  }
  const auto steps =
      trial.step > 0.0 ? concepts * static_cast<double>(record.steps * record.samples) : 0.0;
  const auto sampling = steps * (trial.step + trial.step_again * static_cast<double>(needs.rounds));
  const bool distills = fuse::distills(needs, order.sources);
  const auto distillation =
      distills ? concepts * distillation_seconds(*needs.distillation, trial) : 0.0;
  return estimate_of(loading + trial.merging + trial.recording * concepts + sampling + distillation,
                     fmt::format("measured on {} of {} denoising steps, {:.2f} s each",
                                 options.record.steps, steps, trial.step));
}

FuseOutcome run(const FuseJob& job, const JobContext& context) {
  const log::ScopedSink sink(context.log);
  auto order = take_order(job, context);
  auto [model, hash] = load_base(order);
  auto result = fuse::fuse_concepts(model, order.sources, order.job.options, context.progress,
                                    context.cancel);
  result.delta.metadata["base_model"] = hash;
  auto written = write_results(order, model, result, context);
  return {.report = std::move(result.report), .written = std::move(written)};
}

}  // namespace mos::jobs
