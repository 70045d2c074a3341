#include <ATen/Parallel.h>
#include <fmt/core.h>
#include <torch/version.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "command.h"
#include "compute.h"
#include "conditions.h"
#include "destination.h"
#include "flags.h"
#include "mos/base/describe.h"
#include "mos/base/outputs.h"
#include "mos/diffusion/scheduler.h"
#include "output_kinds.h"
#include "paint_progress.h"
#include "picture_record.h"
#include "rerun.h"
#include "studio.h"
#include "terminal.h"
#include "trial.h"

namespace mos::app {
namespace {

namespace fs = std::filesystem;
using torch::Tensor;

constexpr const char* kUsage =
    "usage: mos sample --prompt TEXT [--concept FILE,...] [options]\n"
    "       mos sample --scene FILE.json [--concept FILE,...] [options]\n"
    "       mos sample --rerun PICTURE.png [--out FILE.png]\n"
    "\n"
    "Paints pictures from a prompt, or from a prompt and more prompts for regions of the canvas.\n"
    "Every PNG says how it was made, and so does the .json beside it; --rerun makes it again.\n"
    "\n"
    "  --prompt TEXT            what is in the picture, with the words of the concepts in it\n"
    "  --negative-prompt TEXT   what is not\n"
    "  --concept FILE[=SCALE]   concepts: of mos tune or mos fuse, LoRA of kohya, PEFT or "
    "diffusers,\n"
    "                           embeddings; commas between several; SCALE is its --merge-scale\n"
    "  --scene FILE.json        prompts, canvas and regions from a file (docs/regions.md)\n"
    "  --regions TEXT           regions as [prompt]-*-[negative]-*-[top, left, bottom, right],\n"
    "                           with | between them\n"
    "  --out FILE.png|DIR       the picture, or FILE-SEED.png for each of several [sample.png]\n"
    "  --grid FILE.png          all pictures in one as well\n"
    "  --config FILE            the options below from a JSON file; flags go over it\n"
    "  --dry-run                only say how long it will take and how much memory\n"
    "  --rerun PICTURE.png      the same file once more; --base, --concept, --adapter and\n"
    "                           --condition say where files are that have moved\n"
    "\n";

constexpr std::int64_t kMostPictures = 1'000'000;  // of one order, painted batch by batch

/// Options that --config can set too.
struct Settings {
  std::string base = "base";
  checkpoint::ReadOptions read;
  double merge_scale = 1.0;
  std::string dtype = "auto";
  std::string device = "cpu";
  std::int64_t batch = 1;
  std::int64_t columns = 0;
  region::SampleOptions sample;
};

template <class Visitor>
void describe(Visitor& visit, Settings& settings) {
  visit("base", settings.base,
        "model: a diffusers directory or a single file; a fused one brings its words");
  describe(visit, settings.read);
  visit("merge_scale", settings.merge_scale, "factor on the LoRA of every concept");
  describe(visit, settings.sample);
  visit("batch", settings.batch, "pictures painted at a time");
  visit("columns", settings.columns, "pictures in a row of the grid; 0: about a square");
  visit("dtype", settings.dtype, "auto, float32, bfloat16 or (on CUDA) float16");
  visit("device", settings.device, "cpu or cuda");
}

/// What the command line asks for, before any file is read.
struct Order {
  Settings settings;
  std::vector<ConceptUse> concepts;
  KeyOptions keys;
  std::optional<std::string> prompt, negative_prompt, regions;
  std::optional<fs::path> config, scene, grid;
  ConditionFlags conditions;
  fs::path out = "sample.png";
  bool dry_run = false;
};

// ---- The command line ----

/// A short name or a diffusers class; empty is the model's own.
void check_scheduler(const std::string& name) {
  const auto names = diffusion::scheduler_names();
  const bool is_class = name.ends_with("Scheduler");
  if (name.empty() || is_class || std::find(names.begin(), names.end(), name) != names.end())
    return;
  throw Error(ErrorKind::kUsage, fmt::format("--scheduler is \"{}\", expected one of {}{}", name,
                                             fmt::join(names, ", "), did_you_mean(name, names)));
}

void check_order(const Order& order) {
  const auto& settings = order.settings;
  if (!order.prompt && !order.scene && !order.regions) {
    throw Error(ErrorKind::kUsage, "mos sample needs --prompt or --scene; see mos sample --help");
  }
  if (settings.sample.count < 1 || settings.sample.count > kMostPictures || settings.batch < 1 ||
      settings.columns < 0) {
    throw Error(ErrorKind::kUsage,
                fmt::format("--count must be 1 to {}, --batch at least 1, --columns not below 0",
                            kMostPictures));
  }
  auto batch = settings.sample;
  batch.count = std::min(batch.count, settings.batch);
  region::check_options(batch);
  check_scheduler(settings.sample.scheduler);
  if (order.grid && order.grid->extension() != ".png") {
    throw Error(ErrorKind::kUsage, fmt::format("--grid is {}, expected a name that ends in .png",
                                               order.grid->string()));
  }
}

Order take_order(Flags& flags) {
  Order order;
  auto& settings = order.settings;
  order.config = flags.take_path("config");
  if (order.config) {
    read_options(read_json_file(*order.config), order.config->string(), settings);
  }
  read_flags(flags, settings);
  order.concepts = take_concepts(flags, settings.merge_scale);
  order.keys = take_key_options(flags);
  order.prompt = flags.take("prompt");
  order.negative_prompt = flags.take("negative-prompt");
  order.regions = flags.take("regions");
  order.scene = flags.take_path("scene");
  order.grid = flags.take_path("grid");
  order.out = flags.take_path("out").value_or(order.out);
  order.conditions = take_conditions(flags);
  order.dry_run = flags.take_switch("dry-run");
  flags.refuse_unknown();
  flags.refuse_words();
  check_order(order);
  return order;
}

/// The scene of an order on a canvas that flags, its file or the model decide, in this sequence.
/// Sets the height and width of `options` to that canvas.
region::Scene compose_scene(const Order& order, const diffusion::Model& model,
                            region::SampleOptions& options) {
  region::Scene scene;
  if (order.scene) {
    scene = region::scene_from_json(read_json_file(*order.scene), order.scene->string(),
                                    region::canvas_of(model, options));
  }
  if (scene.canvas && options.height == 0) options.height = scene.canvas->height;
  if (scene.canvas && options.width == 0) options.width = scene.canvas->width;
  const auto canvas = region::canvas_of(model, options);
  diffusion::latent_shape(model, canvas.height, canvas.width);  // throws for impossible sizes
  options.height = canvas.height;
  options.width = canvas.width;
  scene.canvas = canvas;
  if (order.prompt) scene.prompt = *order.prompt;
  if (order.negative_prompt) scene.negative_prompt = *order.negative_prompt;
  if (order.regions) {
    for (auto& region : region::parse_prompt_rewrite(*order.regions, canvas)) {
      scene.regions.push_back(std::move(region));
    }
  }
  for (auto& condition : place_conditions(order.conditions, canvas)) {
    scene.conditions.push_back(std::move(condition));
  }
  return scene;
}

// ---- The work ----

/// A record that lacks only what differs from batch to batch.
PictureRecord record_of(const Studio& studio, const Settings& settings, region::Scene scene) {
  PictureRecord record;
  record.program = MOS_VERSION;
  record.libtorch = TORCH_VERSION;
  record.base = settings.base;
  record.base_hash = studio.base_hash;
  record.read = settings.read;
  record.concepts = studio.concepts;
  record.scene = std::move(scene);
  record.options = settings.sample;
  record.device = studio.model.device().str();
  record.dtype = name_of(studio.model.dtype());
  record.threads = at::get_num_threads();
  return record;
}

/// All that painting needs beside the model.
struct Work {
  PictureRecord record;
  region::PaintInputs inputs;
};

void write_grid_of(const Order& order, std::vector<Tensor> pictures, PictureRecord record) {
  const auto square = std::ceil(std::sqrt(static_cast<double>(pictures.size())));
  const auto columns = order.settings.columns;
  record.seed = record.options.seed;
  write_grid(*order.grid, pictures, columns > 0 ? columns : static_cast<std::int64_t>(square),
             record);
  fmt::print("{}\n", order.grid->string());
}

void paint(Studio& studio, const Order& order, const Destination& destination, const Work& work) {
  const auto* cancel = cancel_on_interrupt();
  const auto& whole = work.record;
  const auto count = whole.options.count, at_a_time = order.settings.batch;
  PaintProgress progress((count + at_a_time - 1) / at_a_time);
  std::vector<Tensor> all;
  for (std::int64_t first = 0; first < count; first += at_a_time) {
    auto record = whole;
    record.options.seed += static_cast<std::uint64_t>(first);
    record.options.count = std::min(at_a_time, count - first);
    const auto pictures =
        region::sample_pictures(studio.model, studio.tokens, record.scene, record.options,
                                work.inputs, progress.of_batch(first / at_a_time), cancel);
    destination.make_folder();
    for (std::int64_t i = 0; i < pictures.size(0); ++i) {
      record.seed = record.options.seed + static_cast<std::uint64_t>(i);
      const auto path = destination.path(record.seed);
      write_picture(path, pictures[i], record);
      fmt::print("{}\n", path.string());
      if (order.grid) all.push_back(pictures[i]);
    }
  }
  if (order.grid) write_grid_of(order, std::move(all), whole);
}

/// Paints the first batch with a few steps and says what that means for the whole order.
void estimate(Studio& studio, const Order& order, const Work& work, double loading) {
  auto record = work.record;
  constexpr std::int64_t kTrialSteps = 3;
  const auto steps = record.options.steps, count = record.options.count;
  record.options.steps = std::min(steps, kTrialSteps);
  record.options.count = std::min(order.settings.batch, count);
  Stopwatch watch;
  std::vector<double> laps;
  region::sample_pictures(
      studio.model, studio.tokens, record.scene, record.options, work.inputs,
      [&](const diffusion::DenoiseStep&) { laps.push_back(watch.lap()); }, cancel_on_interrupt());
  const double decoding = watch.lap(), first = laps.front(), step = laps.back();
  const auto batches = (count + record.options.count - 1) / record.options.count;
  const double batch = first + step * static_cast<double>(steps - 1) + decoding;
  print_estimate(
      loading + static_cast<double>(batches) * batch,
      fmt::format("measured on {} of {} steps, {:.2f} s each", laps.size(), steps, step));
}

Outputs outputs_of(const Order& order, const Destination& destination) {
  Outputs outputs;
  outputs.read("--base", order.settings.base);
  outputs.read("--original-config", order.settings.read.original_config);
  outputs.read("--config", order.config.value_or(""));
  outputs.read("--scene", order.scene.value_or(""));
  for (const auto& use : order.concepts) outputs.read("--concept", use.file);
  const auto& sample = order.settings.sample;
  destination.announce(outputs, sample.seed, sample.count);
  if (order.grid) {
    outputs.write(
        FileOutput{.name = "--grid", .path = *order.grid, .kind = painted_picture_kind()});
  }
  return outputs;
}

int sample(Flags& flags) {
  Stopwatch watch;
  auto order = take_order(flags);
  auto& settings = order.settings;
  const auto device = device_named(settings.device);
  const auto dtype = dtype_named(settings.dtype, device);
  const Destination destination(order.out, settings.sample.count > 1);
  auto outputs = outputs_of(order, destination);
  outputs.check();
  auto studio =
      open_studio({settings.base, order.concepts, "", device, dtype, order.keys, settings.read});
  auto scene = compose_scene(order, studio.model, settings.sample);
  check_words(studio, scene);
  region::check_boxes(studio.model, scene);
  read_conditions(outputs, scene);
  outputs.check();
  auto conditions = load_conditions(studio, scene);
  const Work work{record_of(studio, settings, std::move(scene)), {{}, std::move(conditions)}};
  if (order.dry_run) {
    estimate(studio, order, work, watch.lap());
    return 0;
  }
  paint(studio, order, destination, work);
  return 0;
}

}  // namespace

int run_sample(int argc, char** argv) {
  Flags flags(argc, argv);
  if (flags.take_switch("help") || argc == 0) {
    fmt::print("{}{}{}\n{}", kUsage, kKeyFlagsHelp, flag_help<Settings>(), kConditionHelp);
    return argc == 0 ? exit_code(ErrorKind::kUsage) : 0;
  }
  const auto again = flags.take_path("rerun");
  return again ? rerun(flags, *again) : sample(flags);
}

}  // namespace mos::app
