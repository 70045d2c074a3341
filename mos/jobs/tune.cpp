#include "mos/jobs/tune.h"

#include <fmt/core.h>
#include <stdlib.h>

#include <algorithm>
#include <optional>
#include <system_error>
#include <utility>

#include "mos/base/describe.h"
#include "mos/base/error.h"
#include "mos/base/log.h"
#include "mos/base/naming.h"
#include "mos/base/outputs.h"
#include "mos/base/require.h"
#include "mos/base/runtime.h"
#include "mos/base/stopwatch.h"
#include "mos/base/temporary.h"
#include "mos/base/version.h"
#include "mos/concepts/concept_writer.h"
#include "mos/io/safetensors.h"
#include "mos/nn/compute.h"
#include "mos/session/output_kinds.h"
#include "mos/tune/caption_check.h"
#include "mos/tune/checkpoint.h"
#include "mos/tune/identity.h"
#include "mos/tune/idle_options.h"
#include "mos/tune/plan.h"
#include "mos/tune/preview.h"
#include "mos/tune/prior.h"
#include "mos/tune/start_check.h"
#include "mos/tune/trainer.h"
#include "mos/tune/tune.h"

namespace mos::jobs {
namespace {

namespace fs = std::filesystem;

fs::path checkpoint_of(const TuneJob& job) { return job.out + ".checkpoint"; }

fs::path previews_of(const TuneJob& job) {
  if (!job.previews.empty()) return job.previews;
  return fs::path(job.out).replace_extension().string() + "-previews";
}

/// Absolute, without a slash at the end.
fs::path full_path(const fs::path& path) {
  const auto full = fs::weakly_canonical(fs::absolute(path)).lexically_normal();
  return full.has_filename() ? full : full.parent_path();
}

/// "pictures/fox" and "pictures/fox/": pictures/fox-prior.
fs::path prior_folder_of(const TuneJob& job) {
  return job.prior_folder.empty() ? fs::path(full_path(job.data).string() + "-prior")
                                  : fs::path(job.prior_folder);
}

/// What lies in the folder of the concept's pictures might be taken for one of them.
void check_prior_folder(const TuneJob& job) {
  const auto data = full_path(job.data), folder = full_path(prior_folder_of(job));
  const auto apart = std::mismatch(data.begin(), data.end(), folder.begin(), folder.end()).first;
  if (apart != data.end()) return;
  throw Error(ErrorKind::kUsage,
              fmt::format("class pictures would go to {}, which is in --data {}, where pictures of "
                          "the concept are; name another place with --prior-folder",
                          folder.string(), job.data));
}

void check_outputs(const TuneJob& job, const JobContext& context) {
  Outputs outputs;
  outputs.read("--data", job.data);
  outputs.read("--base", job.base);
  outputs.read("--original-config", job.read.original_config);
  outputs.read("--config", context.config);
  outputs.write(FileOutput{.name = "--out", .path = job.out, .kind = session::concept_kind()});
  outputs.write(FileOutput{.name = "the checkpoint beside --out",
                           .path = checkpoint_of(job),
                           .kind = {"a checkpoint of mos tune", tune::is_checkpoint}});
  for (const auto& path : tune::preview_paths(previews_of(job), job.options)) {
    outputs.write(FileOutput{.name = "--previews",
                             .path = path,
                             .kind = session::picture_kind(),
                             .makes_folder = true,
                             .outside_inputs = true});
  }
  if (job.options.prior.pictures > 0) {
    check_prior_folder(job);
    outputs.write(FileOutput{.name = "--prior-folder",
                             .path = prior_folder_of(job) / "0000.png",  // one for all
                             .kind = session::picture_kind(),
                             .makes_folder = true});
  }
  outputs.check();
}

void warn_of_idle(const TuneJob& job) {
  tune::warn_of_idle(tune::method_options(job.options.method, job.base), job.options);
}

/// What is known before the base model is loaded.
struct Prepared {
  tune::ConceptDataset dataset;
  tune::TuneOptions options;  ///< Complete.
};

Prepared prepare(const TuneJob& job, const JobContext& context) {
  check(job);
  warn_of_idle(job);
  auto dataset = tune::load_dataset(job.data, tune::dataset_options(job.options));
  for (const auto& warning : dataset.warnings) log::warn(warning);
  auto options = tune::complete_options(job.options, dataset);
  check_outputs(job, context);
  return {std::move(dataset), std::move(options)};
}

diffusion::Model load_base(const TuneJob& job) {
  const auto compute = nn::compute_named(job.device, job.options.run.dtype);
  return diffusion::Model::load(
      job.base, {.dtype = compute.dtype, .device = compute.device, .read = job.read});
}

/// Throws kMismatch where a run was stopped before from which this one cannot go on.
void check_checkpoint(const TuneJob& job, const tune::ConceptDataset& dataset,
                      const tune::TuneOptions& complete) {
  const auto checkpoint = checkpoint_of(job);
  std::error_code ignored;
  if (job.out.empty() || job.fresh || !fs::exists(checkpoint, ignored)) return;
  const auto difference =
      tune::difference_without_base(io::SafetensorsFile(checkpoint).metadata(), dataset, complete);
  if (difference.empty()) return;
  throw Error(
      ErrorKind::kMismatch,
      fmt::format("the checkpoint {} is of a run with {}; go on with it as it was, or start "
                  "anew with \"fresh\", which gives it up",
                  checkpoint.string(), difference));
}

/// What the run would refuse before it trains: words, captions, device, a checkpoint, and what the
/// base model has to say; without one captions are measured as every Stable Diffusion 1.x and 2.x
/// does.
void check_beginning(const TuneJob& job, const tune::ConceptDataset& dataset) {
  (void)nn::compute_named(job.device, job.options.run.dtype);
  const bool has_base = job.base != TuneJob().base || fs::exists(job.base);  // or nobody named one
  const bool has_words = !job.options.words.words.empty() || !dataset.words.empty();
  const bool is_whole = has_base || !job.out.empty();
  if (!is_whole && !has_words && tune::needs_words(job.options)) return;  // with the next call
  const auto complete = tune::complete_options(job.options, dataset);
  check_checkpoint(job, dataset, complete);
  if (!has_base) {
    if (!job.out.empty()) {
      log::warn(
          fmt::format("no base model was looked at: there is none in {}; name yours with "
                      "--base, which the run needs",
                      job.base));
    }
    tune::warn_of_captions(dataset, complete, text::CLIPTokenizer::clip());
    return;
  }
  const auto base = diffusion::Model::shapes(job.base, job.read);
  tune::warn_of_captions(dataset, complete, base.tokenizer());
  tune::check_start(base, dataset, complete);
}

/// Where the concept lies now, in a new folder of temporary files; nothing where that is full, too.
std::optional<fs::path> keep_elsewhere(const TuneJob& job, const concepts::ConceptDelta& delta) {
  fs::path folder;
  try {
    auto name = (temporary_folder() / "mos-tune-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) return std::nullopt;
    folder = name;
    const auto path = folder / fs::path(job.out).filename();
    concepts::save_concept(path, delta);
    return path;
  } catch (const Error&) {  // what is wrong with the concept's own place is said in its stead
    std::error_code ignored;
    fs::remove(folder, ignored);
    return std::nullopt;
  }
}

/// What a run came to.
struct Tuned {
  concepts::ConceptDelta delta;
  tune::RunIdentity identity;
};

/// What is left of a run whose concept could not be written: ". The run is kept in …".
std::string what_is_kept(const TuneJob& job, const Tuned& tuned) {
  const auto checkpoint = checkpoint_of(job);
  const bool is_ours = tune::other_run_at(checkpoint, tuned.identity).empty();
  const auto step = is_ours ? tune::checkpoint_step(checkpoint) : std::nullopt;
  const auto steps = job.options.optimiser.steps;
  // A full disk may have taken no checkpoint of the last steps either.
  const auto elsewhere = step == steps ? std::nullopt : keep_elsewhere(job, tuned.delta);
  if (elsewhere) {
    return fmt::format(". The concept is kept in {}: move it to where it shall be",
                       elsewhere->string());
  }
  if (!step) return "";
  const auto next = *step == steps ? std::string("writes the concept")
                                   : fmt::format("goes on from step {} of {}", *step, steps);
  return fmt::format(". The run is kept in {}: when that is mended, the same command {}",
                     checkpoint.string(), next);
}

/// The checkpoint goes last, when the concept is on disk.
void save(const TuneJob& job, const Tuned& tuned) {
  const auto checkpoint = checkpoint_of(job);
  try {
    concepts::save_concept(job.out, tuned.delta, {.kind = session::concept_kind()});
  } catch (const Error& error) {
    throw Error(error.kind(), error.what() + what_is_kept(job, tuned));
  }
  // Of two runs to one place the other may have been stopped, and go on from there.
  if (const auto other = tune::other_run_at(checkpoint, tuned.identity); !other.empty()) {
    return log::warn(fmt::format("{} stays: it is of another run, with {}; {} is of this one",
                                 checkpoint.string(), other, job.out));
  }
  std::error_code code;
  fs::remove(checkpoint, code);
  if (code) log::warn(fmt::format("cannot remove {}: {}", checkpoint.string(), code.message()));
}

}  // namespace

TuneJob tune_job(const Json& given, const std::string& origin) {
  TuneJob job;
  job.options = naming(origin, [&] {
    const auto method = read_option<std::string>(given, origin, "method", "");
    return tune::method_options(method, read_option(given, origin, "base", job.base));
  });
  read_options(given, origin, job);
  return job;
}

void check(const TuneJob& job) {
  if (job.data.empty()) throw Error(ErrorKind::kUsage, "tuning needs --data, a folder of pictures");
  if (fs::path(job.out).extension() != ".safetensors") {
    throw Error(ErrorKind::kUsage,
                fmt::format("--out is \"{}\", expected a name that ends in .safetensors", job.out));
  }
  check_fields(job);
  tune::check_options(job.options);
}

DataCheck check_data(const TuneJob& job, const JobContext& context) {
  const log::ScopedSink sink(context.log);
  tune::check_options(job.options);
  if (!job.out.empty()) check_outputs(job, context);
  warn_of_idle(job);
  auto [dataset, problems] = tune::check_dataset(job.data, tune::dataset_options(job.options));
  for (const auto& warning : dataset.warnings) log::warn(warning);
  if (problems.empty()) check_beginning(job, dataset);
  return {std::move(problems), dataset.summary()};
}

Estimate estimate(const TuneJob& job, const JobContext& context) {
  constexpr std::int64_t kTrialSteps = 2;  // the first also warms up
  const log::ScopedSink sink(context.log);
  Stopwatch watch;
  auto [dataset, options] = prepare(job, context);
  const auto base = load_base(job);
  if (options.prior.pictures > 0) dataset.prior = tune::blank_prior(base, options);
  const double loading = watch.lap();
  const ScopedThreads threads(options.run.threads);
  tune::Trainer trainer(base, dataset, options);
  watch.lap();
  trainer.draw_batch(0);  // encodes as many pictures as it has
  const double encoding = watch.lap() / static_cast<double>(options.optimiser.batch);
  double step = 0.0;
  const auto steps = options.optimiser.steps, trial = std::min(kTrialSteps, steps);
  for (std::int64_t i = 0; i < trial; ++i) {
    if (context.cancel != nullptr) context.cancel->check();
    trainer.draw_batch(i * options.optimiser.accumulate);
    watch.lap();
    trainer.step();
    step = watch.lap();
  }
  const auto seen = steps * options.optimiser.batch * options.optimiser.accumulate;
  const auto framings =
      options.pictures.variants * static_cast<std::int64_t>(dataset.pictures.size());
  const auto encoded = options.pictures.variants == 0 ? seen : std::min(framings, seen);
  const double samples = tune::trial_of_previews(base, trainer.attached(), options);
  auto measured = fmt::format("measured on {} of {} steps, {:.2f} s each", trial, steps, step);
  if (samples > 0.0) measured += fmt::format("; sample pictures {:.0f} s in all", samples);
  return estimate_of(loading + encoding * static_cast<double>(encoded) +
                         step * static_cast<double>(steps) + samples,
                     std::move(measured));
}

concepts::ConceptDelta run(const TuneJob& job, const JobContext& context) {
  const log::ScopedSink sink(context.log);
  const auto [dataset, options] = prepare(job, context);
  const auto base = load_base(job);
  tune::RunIdentity identity;
  const tune::TuneHooks hooks{.progress = context.progress,
                              .cancel = context.cancel,
                              .wishes = context.wishes,
                              .checkpoint = checkpoint_of(job),
                              .fresh = job.fresh,
                              .identified = [&](const auto& found) { identity = found; },
                              .prior_folder = prior_folder_of(job),
                              .preview_folder = previews_of(job),
                              .preview = context.preview,
                              .program_version = version()};
  log::info(fmt::format("tuning {} on {}", fs::path(job.out).stem().string(), dataset.summary()));
  auto delta = tune::tune_concept(base, dataset, options, hooks);
  Tuned tuned{.delta = std::move(delta), .identity = std::move(identity)};
  save(job, tuned);
  tell_result(context, job.out);
  return std::move(tuned.delta);
}

}  // namespace mos::jobs
