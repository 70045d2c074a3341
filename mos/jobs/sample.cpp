#include "mos/jobs/sample.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "mos/base/describe.h"
#include "mos/base/error.h"
#include "mos/base/log.h"
#include "mos/base/naming.h"
#include "mos/base/outputs.h"
#include "mos/base/stopwatch.h"
#include "mos/checkpoint/parts.h"
#include "mos/diffusion/scheduler.h"
#include "mos/diffusion/vae_tiles.h"
#include "mos/io/picture_name.h"
#include "mos/jobs/idle_options.h"
#include "mos/jobs/scene.h"
#include "mos/jobs/trial.h"
#include "mos/nn/compute.h"
#include "mos/region/fast.h"
#include "mos/region/region_mask.h"
#include "mos/region/region_size.h"
#include "mos/region/start_size.h"
#include "mos/session/composition.h"
#include "mos/session/conditions.h"
#include "mos/session/destination.h"
#include "mos/session/from_picture.h"
#include "mos/session/output_kinds.h"
#include "mos/session/paint.h"
#include "mos/session/picture_inputs.h"
#include "mos/session/preview.h"
#include "mos/session/recorded_files.h"
#include "mos/session/sample_defaults.h"

namespace mos::jobs {
namespace {

namespace fs = std::filesystem;
using torch::Tensor;

/// Throws kUsage where --zero-snr is asked of `scheduler`, which has no such thing.
void check_zero_snr(const region::SampleOptions& options, const std::string& scheduler) {
  const auto found = diffusion::find_scheduler(scheduler);
  if (!options.sampler.zero_snr || !found || found->entry->name != std::string("pndm")) return;
  throw Error(ErrorKind::kUsage,
              fmt::format("--zero-snr does not go with {}, which cannot begin where all is noise: "
                          "take another --scheduler, say ddim",
                          options.scheduler.empty() ? "the model's own scheduler, pndm"
                                                    : "--scheduler " + options.scheduler));
}

/// What no model could do.
void check_sampler(const region::SampleOptions& options) {
  diffusion::check_scheduler_name(options.scheduler, "--scheduler");
  if (options.scheduler.empty()) return;
  check_zero_snr(options, options.scheduler);
  diffusion::make_scheduler(options.scheduler, Json::object(),
                            region::scheduler_options(options.sampler, options.eta));
}

/// Throws kUsage for a canvas of the second pass, or tiles of it, that the model cannot have.
void check_finished_canvas(const diffusion::Model& model, const region::SampleOptions& options) {
  const auto canvas = region::hires_canvas(model, options);
  diffusion::latent_shape(model, canvas.height, canvas.width);
  if (options.pictures.hires != 1.0) {
    if (canvas.height == options.height && canvas.width == options.width) {
      throw Error(
          ErrorKind::kUsage,
          fmt::format("--hires {} of {} x {} pixels (width x height) is that size again: "
                      "this model paints in steps of {} pixels; take a larger one",
                      options.pictures.hires, canvas.width, canvas.height, model.downscale()));
    }
    log::info(fmt::format("the second pass is {} x {} pixels (width x height)", canvas.width,
                          canvas.height));
  }
  const auto tile = options.pictures.vae_tile;
  if (tile > 0) diffusion::check_tile(model.vae, tile, canvas.height, canvas.width);
}

/// Throws kUsage for options that say something of what is not there.
void check_company(const SampleJob& job) {
  const auto require = [](bool holds, const std::string& sentence) {
    if (!holds) throw Error(ErrorKind::kUsage, sentence);
  };
  require(job.columns == 0 || !job.grid.empty(),
          "--columns says how a grid is laid out: ask for one with --grid FILE.png");
  require(!job.conditions.guess_mode || !job.conditions.adapter.empty(),
          "--guess-mode is of a ControlNet: give one with --adapter and --condition");
  require(job.merge_scale == 1.0 || !job.concepts.empty(),
          "--merge-scale is of the concepts that are given with --concept, and there are none");
  const auto steps = job.sample.steps;
  const auto& sampler = job.sample.sampler;
  require(sampler.hard_binding <= steps,
          fmt::format("--hard-binding is {}, but there are {} steps: take as many at most",
                      sampler.hard_binding, steps));
  const bool is_guided = job.sample.guidance_scale > 1.0;
  require(
      is_guided || (sampler.guidance_rescale == 0.0 && sampler.guidance_start == 0.0 &&
                    sampler.guidance_end == 0.0 && sampler.perturbed_attention == 0.0),
      fmt::format("--guidance-rescale, --guidance-start, --guidance-end and --perturbed-attention "
                  "are of guidance, and a --guidance-scale of {} is none",
                  job.sample.guidance_scale));
}

void announce_previews(Outputs& outputs, const SampleJob& job,
                       const session::Destination& destination) {
  if (job.preview == 0) return;
  // Each can be the first of a batch: those with texts or regions of their own are painted alone.
  for (std::int64_t i = 0; i < job.sample.count; ++i) {
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

struct LaidOut {
  region::Scene scene;
  region::SampleOptions options;  ///< With the canvas.
};

/// Everything that can be wrong with texts, boxes and canvas on this model.
LaidOut lay_out(const SampleJob& job, const session::Session& opened) {
  auto options = job.sample;
  check_zero_snr(options, scheduler_of(options, opened.model));
  auto scene = compose_scene(job, opened.model, options);
  session::check_words(opened, scene, options.sampler.plain_text);
  region::check_boxes(opened.model, scene);
  region::check_files_of(scene);
  check_finished_canvas(opened.model, options);
  check_wishes(job, opened, scene);
  return {std::move(scene), std::move(options)};
}

session::SessionOptions session_options(const SampleJob& job) {
  const auto compute = nn::compute_named(job.device, job.dtype);
  return {.base = job.base,
          .concepts = job.uses,
          .device = compute.device,
          .dtype = compute.dtype,
          .keys = job.keys,
          .read = job.read,
          .compose = job.sample.sampler.compose};
}

Opened open(const SampleJob& job, const session::Destination& destination,
            const JobContext& context) {
  const auto opening = session_options(job);
  auto outputs = outputs_of(job, destination, context);
  outputs.check();
  auto opened = session::open_session(opening);
  auto [scene, options] = lay_out(job, opened);
  warn_of_idle(job, opened.model, scene);
  session::read_conditions(outputs, scene);
  for (const auto& region : scene.regions) outputs.read("the mask of a region", region.mask);
  outputs.check();
  region::PaintInputs inputs{{}, session::load_conditions(opened, scene)};
  inputs.start = session::load_pictures(scene, options.pictures);
  region::check_start(inputs.start, options.pictures);
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

/// A canvas that grows is that of the picture to begin with and more, not that of `from`.
void leave_canvas_open(const Json& given, region::SampleOptions& options) {
  if (!given.contains("grow")) return;
  options.height = options.width = 0;
}

/// The options of the picture `from`.
void use_picture(SampleJob& job, const Json& given) {
  auto from = session::read_from_picture(job.from);
  if (from.base && !given.contains("base")) {
    session::check_recorded("the model", *from.base, "--base");
  }
  job.base = from.base.value_or(job.base);
  job.read = from.read;
  job.device = from.device.value_or(job.device);
  job.dtype = from.dtype.value_or(job.dtype);
  job.sample = std::move(from.options);
  leave_canvas_open(given, job.sample);
  job.uses = std::move(from.concepts);
  job.loras = std::move(from.loras);
  job.scene_json = std::move(from.scene);
}

/// Files of the picture `from`, but for its base, that nothing given takes the place of.
void check_recorded(const SampleJob& job, const Json& given) {
  const auto check = [&given](const char* name, const char* what, const std::string& path) {
    if (!given.contains(name)) session::check_recorded(what, path, fmt::format("--{}", name));
  };
  for (const auto& use : job.uses) check("concept", "the concept", use.file);
  check("init", "the picture", job.sample.pictures.init);
  check("mask", "the mask", job.sample.pictures.mask);
  const bool has_other_masks = !job.scene.empty() || !job.region_masks.empty();
  if (has_other_masks || !job.scene_json.contains("regions")) return;
  for (const auto& region : job.scene_json["regions"]) {
    session::check_recorded("the mask", json_value<std::string>(region, "mask", ""),
                            "--region-mask");
  }
}

/// A region that is painted again is one of the picture itself: what that began with, its mask and
/// its second pass are done. Before what is given is read, of which nothing may be lost. `picture`
/// is empty for one that is given with init.
void begin_region(const std::string& picture, const Json& given, region::SampleOptions& sample) {
  auto& options = sample.pictures;
  const bool has_init = !json_value<std::string>(given, "init", "").empty();
  if (has_init && !given.contains("redo_region") && !options.redo_region.empty()) {
    log::info(
        fmt::format("that region \"{}\" was painted again is of the picture of --from, and "
                    "left out for that of --init",
                    options.redo_region));
    options.redo_region.clear();
    options.mask_feather = 0.0;
  }
  const auto name = json_value(given, "redo_region", options.redo_region);
  if (name.empty()) return;
  if (options.redo_region.empty()) options.mask_feather = region::kRedoFeather;
  if (picture.empty()) return;
  if (has_init) {
    throw Error(ErrorKind::kUsage,
                "--redo-region paints a part of the picture of --from again, so that --init has no "
                "place beside it: give one of them");
  }
  // The recorded canvas is that of the first pass.
  if (options.hires != 1.0) sample.height = sample.width = 0;
  options = {.init = picture,
             .strength = options.strength,
             .mask_feather = options.mask_feather,
             .redo_region = name,
             .vae_tile = options.vae_tile};
}

/// Remembers what of the canvas is that of the picture `from`.
void keep_canvas(SampleJob& job, const Json& given) {
  if (!given.contains("height")) job.canvas_of_from.height = job.sample.height;
  if (!given.contains("width")) job.canvas_of_from.width = job.sample.width;
}

/// Puts what --region-mask names into the scene of the picture `from`.
void use_region_masks(SampleJob& job) {
  if (job.region_masks.empty()) return;
  std::vector<Json*> masked;
  if (!job.from.empty() && job.scene.empty() && job.scene_json.contains("regions")) {
    for (auto& region : job.scene_json["regions"]) {
      if (region.contains("mask")) masked.push_back(&region);
    }
  }
  if (masked.size() != job.region_masks.size()) {
    throw Error(ErrorKind::kUsage,
                fmt::format("--region-mask takes the place of the masks of a picture that is given "
                            "with --from or --rerun: there are {} of them, and it names {} files",
                            masked.size(), job.region_masks.size()));
  }
  for (std::size_t i = 0; i < masked.size(); ++i) {
    (*masked[i])["mask"] = job.region_masks[i];
    masked[i]->erase("mask_sha256");
  }
}

/// What is given is not what was recorded, nor need it be.
void forget_hashes(const Json& given, region::PictureOptions& options) {
  if (given.contains("init")) options.init_sha256.clear();
  if (given.contains("mask")) options.mask_sha256.clear();
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
  job.sample = session::sample_defaults(first.base);
  if (!job.from.empty()) {
    use_picture(job, given);
  }
  begin_region(job.from, given, job.sample);
  const auto wished = job.sample;  // by the model or the picture
  if (!job.fast.empty()) use_fast(job, given, job.sample);
  read_options(given, origin, job);
  if (job.sample.guidance_scale != wished.guidance_scale &&
      !given.contains("perturbed_attention")) {
    job.sample.sampler.perturbed_attention =
        session::perturbed_attention_at(job.sample.guidance_scale, wished);
  }
  if (!job.from.empty()) keep_canvas(job, given);
  use_region_masks(job);
  forget_hashes(given, job.sample.pictures);
  if (!job.from.empty()) check_recorded(job, given);
  return job;
}

void check(const SampleJob& job) {
  if (!job.prompt && job.scene.empty() && job.scene_json.is_null() && !job.regions) {
    throw Error(ErrorKind::kUsage, "mos sample needs --prompt or --scene; see mos sample --help");
  }
  check_fields(job);
  auto batch = job.sample;
  batch.count = std::min(batch.count, job.batch);
  region::check_options(batch);
  check_sampler(job.sample);
  check_company(job);
  if (!job.grid.empty() && !io::is_png_name(job.grid)) {
    throw Error(ErrorKind::kUsage,
                fmt::format("--grid is {}, expected a name that ends in .png", job.grid));
  }
  uses_of(job);
  conditions_of(job.conditions);
}

void check_files(const SampleJob& given) {
  check(given);
  const auto job = resolved(given);
  lay_out(job, session::session_of_shapes(session_options(job)));
}

Estimate estimate(const SampleJob& given, const JobContext& context) {
  const log::ScopedSink sink(context.log);
  check(given);
  const auto job = resolved(given);
  Stopwatch watch;
  auto [opened, record, inputs] = open(job, destination_of(job), context);
  const double loading = watch.lap();
  const auto count = record.options.count;
  const auto passes = passes_of(record.options);
  const auto steps = shorten(record.options, job.batch);
  PaintTrial trial(steps);
  watch.lap();
  const session::Composition composition(opened, record.scene, record.options);
  region::sample_pictures(
      opened.model, opened.tokens, record.scene, record.options, composition.of_scene(inputs),
      [&](const diffusion::DenoiseStep& call) { trial.add(call, watch.lap()); }, context.cancel);
  const double decoding = watch.lap();
  const auto batches = (count + record.options.count - 1) / record.options.count;
  return estimate_of(loading + static_cast<double>(batches) * (trial.seconds(passes) + decoding),
                     trial.measured(passes));
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
