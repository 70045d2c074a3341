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
#include "from_picture.h"
#include "mos/base/describe.h"
#include "mos/base/outputs.h"
#include "mos/concepts/prompt_encoder.h"
#include "mos/diffusion/scheduler.h"
#include "mos/diffusion/vae_tiles.h"
#include "mos/region/fast.h"
#include "mos/region/scene_text.h"
#include "mos/text/prompt_tags.h"
#include "output_kinds.h"
#include "paint_progress.h"
#include "picture_inputs.h"
#include "picture_record.h"
#include "preview.h"
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
    "       mos sample --from PICTURE.png [options that change]\n"
    "       mos sample --list-schedulers\n"
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
    "  --from PICTURE.png       the options of a picture of mos sample, A1111 or ComfyUI; flags go "
    "over them\n"
    "  --fast KIND              for LoRA of few steps: auto, lcm, hyper, lightning or tcd sets "
    "scheduler,\n"
    "                           steps and guidance; flags go over it\n"
    "  --lora-folder DIR        where <lora:name:scale> in prompts finds its file [.]\n"
    "  --list-schedulers        schedulers and sigmas with their names elsewhere\n"
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
  std::int64_t preview = 0;
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
  visit("preview", settings.preview, "steps between small pictures beside --out; 0: none");
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
  Json scene_json;
  ConditionFlags conditions;
  fs::path out = "sample.png";
  bool dry_run = false;
};

// ---- The command line ----

/// What no model could do, before any file is read.
void check_sampler(const region::SampleOptions& options) {
  diffusion::check_scheduler_name(options.scheduler, "--scheduler");
  if (options.scheduler.empty()) return;
  diffusion::make_scheduler(options.scheduler, Json::object(),
                            region::scheduler_options(options.sampler, options.eta));
}

void check_order(const Order& order) {
  const auto& settings = order.settings;
  if (!order.prompt && !order.scene && !order.regions) {
    throw Error(ErrorKind::kUsage, "mos sample needs --prompt or --scene; see mos sample --help");
  }
  if (settings.sample.count < 1 || settings.sample.count > kMostPictures || settings.batch < 1 ||
      settings.columns < 0 || settings.preview < 0) {
    throw Error(ErrorKind::kUsage,
                fmt::format("--count must be 1 to {}, --batch at least 1, --columns and --preview "
                            "not below 0",
                            kMostPictures));
  }
  auto batch = settings.sample;
  batch.count = std::min(batch.count, settings.batch);
  region::check_options(batch);
  check_sampler(settings.sample);
  if (order.grid && order.grid->extension() != ".png") {
    throw Error(ErrorKind::kUsage, fmt::format("--grid is {}, expected a name that ends in .png",
                                               order.grid->string()));
  }
}

/// Sets what --fast stands for, if it is there.
void take_fast(Flags& flags, region::SampleOptions& options) {
  const auto name = flags.take("fast");
  if (!name) return;
  std::vector<std::string> files;
  for (const auto& use : take_concepts(flags, 1.0)) files.push_back(use.file);
  const auto& kind = region::find_fast_kind(*name, files);
  const auto scheduler = flags.take("scheduler");
  if (scheduler) region::check_fast_scheduler(kind, *scheduler);
  region::use_fast_kind(kind, options);
}

/// The files that prompts name as <lora:name:scale> become concepts; the prompts lose the tags.
void add_tagged_concepts(Order& order, const fs::path& folder) {
  std::vector<text::LoraTag> tags;
  if (order.scene) region::add_lora_tags(tags, region::take_lora_tags(order.scene_json));
  for (auto* prompt : {&order.prompt, &order.negative_prompt, &order.regions}) {
    if (!*prompt) continue;
    auto taken = text::take_lora_tags(**prompt);
    region::add_lora_tags(tags, taken.loras);
    *prompt = std::move(taken.prompt);
  }
  for (const auto& tag : tags)
    order.concepts.push_back({find_lora(tag.name, folder), "", tag.scale});
}

/// The options of --from, which returns its picture.
std::optional<fs::path> take_from(Flags& flags, Order& order) {
  const auto picture = flags.take_path("from");
  if (!picture) return picture;
  auto from = read_from_picture(*picture);
  auto& settings = order.settings;
  settings.base = from.base.value_or(settings.base);
  settings.read = from.read;
  settings.device = from.device.value_or(settings.device);
  settings.dtype = from.dtype.value_or(settings.dtype);
  settings.sample = std::move(from.options);
  order.concepts = std::move(from.concepts);
  order.scene = picture;
  order.scene_json = std::move(from.scene);
  return picture;
}

/// A region that is painted again is one of the picture itself.
void begin_from(const fs::path& picture, region::PictureOptions& options) {
  if (options.redo_region.empty()) return;
  const auto name = options.redo_region;
  const auto strength = options.strength, feather = options.mask_feather;
  options = {};
  options.init = picture.string();
  options.redo_region = name;
  options.strength = strength;
  options.mask_feather = feather;
}

Order take_order(Flags& flags) {
  Order order;
  auto& settings = order.settings;
  order.config = flags.take_path("config");
  if (order.config) {
    read_options(read_json_file(*order.config), order.config->string(), settings);
  }
  const auto from = take_from(flags, order);
  take_fast(flags, settings.sample);
  read_flags(flags, settings);
  if (from) begin_from(*from, settings.sample.pictures);
  if (!from || flags.has("concept")) {
    order.concepts = take_concepts(flags, settings.merge_scale);
  }
  order.keys = take_key_options(flags);
  order.prompt = flags.take("prompt");
  order.negative_prompt = flags.take("negative-prompt");
  order.regions = flags.take("regions");
  if (const auto scene = flags.take_path("scene")) {
    order.scene = scene;
    order.scene_json = read_json_file(*scene);
  }
  order.grid = flags.take_path("grid");
  order.out = flags.take_path("out").value_or(order.out);
  order.conditions = take_conditions(flags);
  order.dry_run = flags.take_switch("dry-run");
  const auto folder = flags.take_path("lora-folder").value_or(".");
  if (!settings.sample.sampler.plain_text) add_tagged_concepts(order, folder);
  flags.refuse_unknown();
  flags.refuse_words();
  check_order(order);
  return order;
}

/// Throws kUsage for a canvas of the second pass, or tiles of it, that the model cannot have.
void check_finished_canvas(const diffusion::Model& model, const region::SampleOptions& options) {
  const auto canvas = region::hires_canvas(model, options);
  diffusion::latent_shape(model, canvas.height, canvas.width);
  const auto tile = options.pictures.vae_tile;
  if (tile > 0) diffusion::check_tile(model.vae, tile, canvas.height, canvas.width);
}

/// The scene of an order on a canvas that flags, its file or the model decide, in this sequence.
/// Sets the height and width of `options` to that canvas.
region::Scene compose_scene(const Order& order, const diffusion::Model& model,
                            region::SampleOptions& options) {
  region::Scene scene;
  if (order.scene) {
    scene = region::scene_from_json(order.scene_json, order.scene->string(),
                                    region::canvas_of(model, options));
  }
  if (const auto start = region::canvas_of_start(options.pictures)) {
    if (options.height == 0) options.height = start->height;
    if (options.width == 0) options.width = start->width;
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
  const auto prompts = region::prompts_of(record.scene);
  record.has_syntax =
      !settings.sample.sampler.plain_text &&
      std::any_of(prompts.begin(), prompts.end(), [&](const std::string& prompt) {
        return concepts::has_syntax(studio.tokens, studio.model.tokenizer(), prompt);
      });
  record.has_parameters = true;
  record.device = studio.model.device().str();
  record.dtype = name_of(studio.model.dtype());
  record.threads = at::get_num_threads();
  return record;
}

/// All that painting needs beside the model.
struct Work {
  PictureRecord record;
  region::PaintInputs inputs;
  bool has_choices = false;  ///< Each picture has texts of its own.
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
  const Preview preview(order.settings.preview, studio.model.vae);
  if (order.settings.preview > 0) destination.make_folder();
  std::vector<Tensor> all;
  for (std::int64_t first = 0; first < count; first += at_a_time) {
    auto record = whole;
    record.options.seed += static_cast<std::uint64_t>(first);
    record.options.count = std::min(at_a_time, count - first);
    if (work.has_choices) record.scene = choose_texts(whole.scene, record.options.seed);
    const auto pictures = region::sample_pictures(
        studio.model, studio.tokens, record.scene, record.options, work.inputs,
        preview.of_batch(progress.of_batch(first / at_a_time),
                         destination.path(record.options.seed), record),
        cancel);
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
  // A share of so few steps can be none; the whole of them takes at least as long.
  record.options.pictures.strength = record.options.pictures.hires_strength = 1.0;
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
  if (settings.preview > 0) {
    for (std::int64_t i = 0; i < settings.sample.count; i += settings.batch) {
      const auto seed = settings.sample.seed + static_cast<std::uint64_t>(i);
      outputs.write(FileOutput{.name = "--preview",
                               .path = Preview::path_of(destination.path(seed)),
                               .kind = painted_picture_kind()});
    }
  }
  outputs.read("--init", settings.sample.pictures.init);
  outputs.read("--mask", settings.sample.pictures.mask);
  outputs.check();
  auto studio =
      open_studio({settings.base, order.concepts, "", device, dtype, order.keys, settings.read});
  auto scene = compose_scene(order, studio.model, settings.sample);
  check_words(studio, scene, settings.sample.sampler.plain_text);
  const bool has_choices = !settings.sample.sampler.plain_text && region::has_choices(scene);
  if (has_choices) settings.batch = 1;
  region::check_boxes(studio.model, scene);
  read_conditions(outputs, scene);
  for (const auto& region : scene.regions) outputs.read("the mask of a region", region.mask);
  outputs.check();
  check_finished_canvas(studio.model, settings.sample);
  auto conditions = load_conditions(studio, scene);
  auto start = load_pictures(scene, settings.sample.pictures);
  const Work work{record_of(studio, settings, std::move(scene)),
                  {{}, std::move(conditions), std::move(start)},
                  has_choices};
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
  if (flags.take_switch("list-schedulers")) {
    flags.refuse_unknown();
    fmt::print("{}", diffusion::scheduler_list());
    return 0;
  }
  const auto again = flags.take_path("rerun");
  return again ? rerun(flags, *again) : sample(flags);
}

}  // namespace mos::app
