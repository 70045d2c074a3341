#include "mos/jobs/sample.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "mos/base/describe.h"
#include "mos/base/error.h"
#include "mos/base/outputs.h"
#include "mos/base/stopwatch.h"
#include "mos/diffusion/scheduler.h"
#include "mos/diffusion/vae_tiles.h"
#include "mos/jobs/scene.h"
#include "mos/nn/compute.h"
#include "mos/region/fast.h"
#include "mos/session/composition.h"
#include "mos/session/conditions.h"
#include "mos/session/destination.h"
#include "mos/session/from_picture.h"
#include "mos/session/output_kinds.h"
#include "mos/session/paint.h"
#include "mos/session/picture_inputs.h"
#include "mos/session/preview.h"

namespace mos::jobs {
namespace {

namespace fs = std::filesystem;
using torch::Tensor;

constexpr std::int64_t kMostPictures = 1'000'000;  // of one order, painted batch by batch

/// What no model could do.
void check_sampler(const region::SampleOptions& options) {
  diffusion::check_scheduler_name(options.scheduler, "--scheduler");
  if (options.scheduler.empty()) return;
  diffusion::make_scheduler(options.scheduler, Json::object(),
                            region::scheduler_options(options.sampler, options.eta));
}

/// Throws kUsage for a canvas of the second pass, or tiles of it, that the model cannot have.
void check_finished_canvas(const diffusion::Model& model, const region::SampleOptions& options) {
  const auto canvas = region::hires_canvas(model, options);
  diffusion::latent_shape(model, canvas.height, canvas.width);
  const auto tile = options.pictures.vae_tile;
  if (tile > 0) diffusion::check_tile(model.vae, tile, canvas.height, canvas.width);
}

void announce_previews(Outputs& outputs, const SampleJob& job,
                       const session::Destination& destination) {
  if (job.preview == 0) return;
  for (std::int64_t i = 0; i < job.sample.count; i += job.batch) {
    const auto seed = job.sample.seed + static_cast<std::uint64_t>(i);
    outputs.write(FileOutput{.name = "--preview",
                             .path = session::Preview::path_of(destination.path(seed)),
                             .kind = session::picture_kind(),
                             .makes_folder = true});
  }
}

Outputs outputs_of(const SampleJob& job, const session::Destination& destination,
                   const JobContext& context) {
  Outputs outputs;
  outputs.read("--base", job.base);
  outputs.read("--original-config", job.read.original_config);
  outputs.read("--config", context.config);
  outputs.read("--scene", job.scene);
  outputs.read("--from", job.from);
  outputs.read("--init", job.sample.pictures.init);
  outputs.read("--mask", job.sample.pictures.mask);
  for (const auto& use : job.uses) outputs.read("--concept", use.file);
  announce_previews(outputs, job, destination);
  destination.announce(outputs, job.sample.seed, job.sample.count);
  if (!job.grid.empty()) {
    outputs.write(FileOutput{.name = "--grid", .path = job.grid, .kind = session::picture_kind()});
  }
  return outputs;
}

/// A job whose model is open: everything that can be wrong with it has been looked at.
struct Opened {
  session::Session session;
  session::PictureRecord record;  ///< Of all pictures.
  region::PaintInputs inputs;
};

Opened open(const SampleJob& job, const session::Destination& destination,
            const JobContext& context) {
  const auto compute = nn::compute_named(job.device, job.dtype);
  auto outputs = outputs_of(job, destination, context);
  outputs.check();
  auto opened = session::open_session({.base = job.base,
                                       .concepts = job.uses,
                                       .device = compute.device,
                                       .dtype = compute.dtype,
                                       .keys = job.keys,
                                       .read = job.read,
                                       .compose = job.sample.sampler.compose});
  auto options = job.sample;
  auto scene = compose_scene(job, opened.model, options);
  session::check_words(opened, scene, options.sampler.plain_text);
  region::check_boxes(opened.model, scene);
  session::read_conditions(outputs, scene);
  for (const auto& region : scene.regions) outputs.read("the mask of a region", region.mask);
  outputs.check();
  check_finished_canvas(opened.model, options);
  region::PaintInputs inputs{{}, session::load_conditions(opened, scene)};
  inputs.start = session::load_pictures(scene, options.pictures);
  auto record = session::record_of(opened, std::move(scene), options);
  return {std::move(opened), std::move(record), std::move(inputs)};
}

/// What --fast stands for.
void use_fast(const SampleJob& job, const Json& given, region::SampleOptions& options) {
  std::vector<std::string> files;
  for (const auto& use : uses_of(job)) files.push_back(use.file);
  const auto kind = region::find_fast_kind(job.fast, files);
  const auto scheduler = json_value<std::string>(given, "scheduler", "");
  if (!scheduler.empty()) region::check_fast_scheduler(kind, scheduler);
  region::use_fast_kind(kind, options);
}

/// The options of the picture `from`.
void use_picture(SampleJob& job) {
  auto from = session::read_from_picture(job.from);
  job.base = from.base.value_or(job.base);
  job.read = from.read;
  job.device = from.device.value_or(job.device);
  job.dtype = from.dtype.value_or(job.dtype);
  job.sample = std::move(from.options);
  job.uses = std::move(from.concepts);
  job.scene_json = std::move(from.scene);
}

/// A region that is painted again is one of the picture itself.
void begin_from(const std::string& picture, region::PictureOptions& options) {
  if (options.redo_region.empty()) return;
  options = {.init = picture,
             .strength = options.strength,
             .mask_feather = options.mask_feather,
             .redo_region = options.redo_region};
}

session::Destination destination_of(const SampleJob& job) {
  return session::Destination(job.out, job.sample.count > 1);
}

void write_grid(const SampleJob& job, const std::vector<Tensor>& pictures,
                const session::PictureRecord& record) {
  const auto square = std::ceil(std::sqrt(static_cast<double>(pictures.size())));
  session::write_grid(job.grid, pictures,
                      job.columns > 0 ? job.columns : static_cast<std::int64_t>(square), record);
}

}  // namespace

SampleJob sample_job(const Json& given, const std::string& origin) {
  SampleJob job, first;  // what is set first depends on some of what is given
  read_options(given, origin, first);
  job.from = first.from;
  job.fast = first.fast;
  job.merge_scale = first.merge_scale;
  job.concepts = first.concepts;
  if (!job.from.empty()) use_picture(job);
  if (!job.fast.empty()) use_fast(job, given, job.sample);
  read_options(given, origin, job);
  if (!job.from.empty()) begin_from(job.from, job.sample.pictures);
  return job;
}

void check(const SampleJob& job) {
  if (!job.prompt && job.scene.empty() && job.scene_json.is_null() && !job.regions) {
    throw Error(ErrorKind::kUsage, "mos sample needs --prompt or --scene; see mos sample --help");
  }
  check_fields(job);
  if (job.sample.count > kMostPictures) {
    throw Error(ErrorKind::kUsage,
                fmt::format("--count is {}, expected 1 to {}", job.sample.count, kMostPictures));
  }
  auto batch = job.sample;
  batch.count = std::min(batch.count, job.batch);
  region::check_options(batch);
  check_sampler(job.sample);
  if (!job.grid.empty() && fs::path(job.grid).extension() != ".png") {
    throw Error(ErrorKind::kUsage,
                fmt::format("--grid is {}, expected a name that ends in .png", job.grid));
  }
  uses_of(job);
  conditions_of(job.conditions);
}

Estimate estimate(const SampleJob& given, const JobContext& context) {
  const log::ScopedSink sink(context.log);
  check(given);
  const auto job = resolved(given);
  Stopwatch watch;
  auto [opened, record, inputs] = open(job, destination_of(job), context);
  const double loading = watch.lap();
  constexpr std::int64_t kTrialSteps = 3;
  const auto steps = record.options.steps, count = record.options.count;
  record.options.steps = std::min(steps, kTrialSteps);
  record.options.count = std::min(job.batch, count);
  // A share of so few steps can be none; the whole of them takes at least as long.
  auto& pictures = record.options.pictures;
  if (!pictures.init.empty()) pictures.strength = 1.0;
  if (pictures.hires != 1.0) pictures.hires_strength = 1.0;
  std::vector<double> laps;
  watch.lap();
  const session::Composition composition(opened, record.scene, record.options);
  region::sample_pictures(
      opened.model, opened.tokens, record.scene, record.options, composition.of_scene(inputs),
      [&](const diffusion::DenoiseStep&) { laps.push_back(watch.lap()); }, context.cancel);
  const double decoding = watch.lap(), first = laps.front(), step = laps.back();
  const auto batches = (count + record.options.count - 1) / record.options.count;
  const double batch = first + step * static_cast<double>(steps - 1) + decoding;
  return estimate_of(
      loading + static_cast<double>(batches) * batch,
      fmt::format("measured on {} of {} steps, {:.2f} s each", laps.size(), steps, step));
}

std::vector<fs::path> run(const SampleJob& given, const JobContext& context) {
  const log::ScopedSink sink(context.log);
  check(given);
  const auto job = resolved(given);
  const auto destination = destination_of(job);
  auto [opened, record, inputs] = open(job, destination, context);
  std::vector<fs::path> written;
  const auto tell = [&](const fs::path& path) {
    written.push_back(path);
    tell_result(context, path.string());
    if (context.preview) context.preview(path);
  };
  std::vector<Tensor> all;
  const auto keep = [&](const Tensor& pixels, const session::PictureRecord& of_one) {
    destination.make_folder();
    const auto path = destination.path(of_one.seed);
    session::write_picture(path, pixels, of_one);
    tell(path);
    if (!job.grid.empty()) all.push_back(pixels);
  };
  const session::Preview preview(job.preview, opened.model, context.preview);
  if (job.preview > 0) destination.make_folder();
  const auto watch = [&](diffusion::StepCallback inner, const session::PictureRecord& of_batch) {
    return preview.of_batch(std::move(inner), destination.path(of_batch.options.seed), of_batch);
  };
  session::paint(
      opened, record, inputs, job.batch,
      {.progress = context.progress, .picture = keep, .of_batch = watch, .cancel = context.cancel});
  if (!job.grid.empty()) {
    write_grid(job, all, record);
    tell(job.grid);
  }
  return written;
}

}  // namespace mos::jobs
