#include "mos/jobs/sample.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "mos/base/describe.h"
#include "mos/base/device.h"
#include "mos/base/error.h"
#include "mos/base/outputs.h"
#include "mos/base/text_distance.h"
#include "mos/diffusion/scheduler.h"
#include "mos/jobs/scene.h"
#include "mos/session/compute.h"
#include "mos/session/conditions.h"
#include "mos/session/destination.h"
#include "mos/session/output_kinds.h"
#include "mos/session/paint.h"

namespace mos::jobs {
namespace {

namespace fs = std::filesystem;
using torch::Tensor;

constexpr std::int64_t kMostPictures = 1'000'000;  // of one order, painted batch by batch

/// A short name or a diffusers class; empty is the model's own.
void check_scheduler(const std::string& name) {
  const auto names = diffusion::scheduler_names();
  if (name.empty() || name.ends_with("Scheduler")) return;
  check_choice("--scheduler", name, names);
}

Outputs outputs_of(const SampleJob& job, const session::Destination& destination,
                   const JobContext& context) {
  Outputs outputs;
  outputs.read("--base", job.base);
  outputs.read("--original-config", job.read.original_config);
  outputs.read("--config", context.config);
  outputs.read("--scene", job.scene);
  for (const auto& use : uses_of(job)) outputs.read("--concept", use.file);
  destination.announce(outputs, job.sample.seed, job.sample.count);
  if (!job.grid.empty()) {
    outputs.write(
        FileOutput{.name = "--grid", .path = job.grid, .kind = session::painted_picture_kind()});
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
  const auto device = device_named(job.device);
  const auto dtype = session::dtype_named(job.dtype, device);
  auto outputs = outputs_of(job, destination, context);
  outputs.check();
  auto opened = session::open_session({.base = job.base,
                                       .concepts = uses_of(job),
                                       .device = device,
                                       .dtype = dtype,
                                       .keys = job.keys,
                                       .read = job.read});
  auto options = job.sample;
  auto scene = compose_scene(job, opened.model, options);
  session::check_words(opened, scene);
  region::check_boxes(opened.model, scene);
  session::read_conditions(outputs, scene);
  outputs.check();
  region::PaintInputs inputs{{}, session::load_conditions(opened, scene)};
  auto record = session::record_of(opened, std::move(scene), options);
  return {std::move(opened), std::move(record), std::move(inputs)};
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

void check(const SampleJob& job) {
  if (!job.prompt && job.scene.empty() && !job.regions) {
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
  check_scheduler(job.sample.scheduler);
  if (!job.grid.empty() && fs::path(job.grid).extension() != ".png") {
    throw Error(ErrorKind::kUsage,
                fmt::format("--grid is {}, expected a name that ends in .png", job.grid));
  }
  uses_of(job);
  conditions_of(job.conditions);
}

Estimate estimate(const SampleJob& job, const JobContext& context) {
  const log::ScopedSink sink(context.log);
  check(job);
  Stopwatch watch;
  auto [opened, record, inputs] = open(job, destination_of(job), context);
  const double loading = watch.lap();
  constexpr std::int64_t kTrialSteps = 3;
  const auto steps = record.options.steps, count = record.options.count;
  record.options.steps = std::min(steps, kTrialSteps);
  record.options.count = std::min(job.batch, count);
  std::vector<double> laps;
  watch.lap();
  region::sample_pictures(
      opened.model, opened.tokens, record.scene, record.options, inputs,
      [&](const diffusion::DenoiseStep&) { laps.push_back(watch.lap()); }, context.cancel);
  const double decoding = watch.lap(), first = laps.front(), step = laps.back();
  const auto batches = (count + record.options.count - 1) / record.options.count;
  const double batch = first + step * static_cast<double>(steps - 1) + decoding;
  return estimate_of(
      loading + static_cast<double>(batches) * batch,
      fmt::format("measured on {} of {} steps, {:.2f} s each", laps.size(), steps, step));
}

std::vector<fs::path> run(const SampleJob& job, const JobContext& context) {
  const log::ScopedSink sink(context.log);
  check(job);
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
  session::paint(opened, record, inputs, job.batch,
                 {.progress = context.progress, .picture = keep, .cancel = context.cancel});
  if (!job.grid.empty()) {
    write_grid(job, all, record);
    tell(job.grid);
  }
  return written;
}

}  // namespace mos::jobs
