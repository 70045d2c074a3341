#include <ATen/Parallel.h>
#include <fmt/core.h>
#include <torch/version.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <limits>

#include "command.h"
#include "compute.h"
#include "conditions.h"
#include "destination.h"
#include "flags.h"
#include "mos/base/describe.h"
#include "mos/base/file.h"
#include "mos/base/log.h"
#include "mos/diffusion/scheduler.h"
#include "picture_record.h"
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
  std::optional<fs::path> scene, grid;
  ConditionFlags conditions;
  fs::path out = "sample.png";
  bool dry_run = false;
};

// ---- The command line ----

ConceptUse parse_concept(const std::string& text, double default_scale) {
  const auto equals = text.rfind('=');
  if (equals == std::string::npos || fs::exists(text)) return {text, "", default_scale};
  const auto scale = detail::parse_number("concept", text.substr(equals + 1));
  return {text.substr(0, equals), "", scale};
}

std::vector<ConceptUse> take_concepts(Flags& flags, double default_scale) {
  std::vector<ConceptUse> uses;
  const auto given = flags.take("concept");
  for (const auto& text : detail::split_list(given.value_or(""))) {
    uses.push_back(parse_concept(text, default_scale));
  }
  if (given && uses.empty()) throw Error(ErrorKind::kUsage, "--concept needs a file");
  return uses;
}

void refuse_words(const Flags& flags) {
  if (flags.words().empty()) return;
  throw Error(ErrorKind::kUsage, fmt::format("\"{}\" belongs to no option; put texts with blanks "
                                             "in quotes",
                                             flags.words().front()));
}

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
  if (settings.sample.count < 1 || settings.batch < 1 || settings.columns < 0) {
    throw Error(ErrorKind::kUsage, "--count and --batch must be at least 1, --columns not below 0");
  }
  check_scheduler(settings.sample.scheduler);
  if (order.grid && order.grid->extension() != ".png") {
    throw Error(ErrorKind::kUsage, fmt::format("--grid is {}, expected a name that ends in .png",
                                               order.grid->string()));
  }
}

Order take_order(Flags& flags) {
  Order order;
  auto& settings = order.settings;
  if (const auto config = flags.take_path("config")) {
    read_options(read_json_file(*config), config->string(), settings);
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
  refuse_words(flags);
  check_order(order);
  return order;
}

/// The scene of an order on a canvas that flags, its file or the model decide, in this sequence.
/// Sets the height and width of `options` to that canvas.
region::Scene compose_scene(const Order& order, const diffusion::StableDiffusion& model,
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

/// Progress over all batches of an order.
class PaintProgress {
 public:
  explicit PaintProgress(std::int64_t batches) : batches_(batches) {}

  diffusion::StepCallback of_batch(std::int64_t batch) {
    return [this, batch](const diffusion::DenoiseStep& step) {
      const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start_;
      bar_({.stage = "painting",
            .step = batch * step.total + step.index + 1,
            .total = batches_ * step.total,
            .loss = std::numeric_limits<double>::quiet_NaN(),
            .seconds = spent.count()});
    };
  }

 private:
  std::int64_t batches_;
  ProgressBar bar_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

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
  const auto& whole = work.record;
  const auto* cancel = cancel_on_interrupt();
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
  region::sample_pictures(studio.model, studio.tokens, record.scene, record.options, work.inputs,
                          [&](const diffusion::DenoiseStep&) { laps.push_back(watch.lap()); });
  const double decoding = watch.lap(), first = laps.front(), step = laps.back();
  const auto batches = (count + record.options.count - 1) / record.options.count;
  const double batch = first + step * static_cast<double>(steps - 1) + decoding;
  print_estimate(
      loading + static_cast<double>(batches) * batch,
      fmt::format("measured on {} of {} steps, {:.2f} s each", laps.size(), steps, step));
}

int sample(Flags& flags) {
  Stopwatch watch;
  auto order = take_order(flags);
  auto& settings = order.settings;
  const auto device = device_named(settings.device);
  const auto dtype = dtype_named(settings.dtype, device);
  const Destination destination(order.out, settings.sample.count > 1);
  if (order.grid) {
    const AtomicFile writable(*order.grid);
  }
  auto studio =
      open_studio({settings.base, order.concepts, "", device, dtype, order.keys, settings.read});
  auto scene = compose_scene(order, studio.model, settings.sample);
  check_words(studio, scene);
  auto conditions = load_conditions(studio, scene);
  const Work work{record_of(studio, settings, std::move(scene)), {{}, std::move(conditions)}};
  record_text(work.record);  // throws for texts that are none
  if (order.dry_run) {
    estimate(studio, order, work, watch.lap());
    return 0;
  }
  paint(studio, order, destination, work);
  return 0;
}

// ---- The same picture again ----

void warn_of_other_versions(const PictureRecord& record) {
  if (record.program == MOS_VERSION && record.libtorch == TORCH_VERSION) return;
  log::warn(fmt::format("the picture is from mos {} with LibTorch {}, this is mos {} with {}",
                        record.program, record.libtorch, MOS_VERSION, TORCH_VERSION));
}

/// The record's concepts, from `moved` files where there are any.
std::vector<ConceptUse> concepts_of(const PictureRecord& record,
                                    const std::vector<ConceptUse>& moved) {
  auto uses = record.concepts;
  if (moved.empty()) return uses;
  if (moved.size() != uses.size()) {
    throw Error(ErrorKind::kUsage, fmt::format("--concept names {} files, but the picture was made "
                                               "with {}",
                                               moved.size(), uses.size()));
  }
  for (std::size_t i = 0; i < uses.size(); ++i) uses[i].file = moved[i].file;
  return uses;
}

/// How the base is read now. Its hash tells the right weights wherever they lie, so a base that has
/// moved starts without the record's variant; what it predicts is part of the picture.
checkpoint::ReadOptions moved_read(Flags& flags, const checkpoint::ReadOptions& recorded,
                                   bool has_moved) {
  auto read = has_moved ? checkpoint::ReadOptions() : recorded;
  read.prediction_type = recorded.prediction_type;
  read_flags(flags, read);
  if (read.prediction_type == recorded.prediction_type) return read;
  throw Error(ErrorKind::kUsage,
              fmt::format("the picture was made with the prediction type \"{}\", --prediction-type "
                          "is \"{}\"; paint a new one with --prompt or --scene instead",
                          recorded.prediction_type, read.prediction_type));
}

int rerun(Flags& flags, const fs::path& picture) {
  const auto old_bytes = read_text_file(picture);
  auto record = read_record(picture);
  const auto moved_base = flags.take("base");
  const auto base = moved_base.value_or(record.base);
  const auto read = moved_read(flags, record.read, moved_base.has_value());
  const auto uses = concepts_of(record, take_concepts(flags, 1.0));
  auto scene = moved_conditions(flags, record.scene);
  const auto out = flags.take_path("out");
  const auto keys = take_key_options(flags);
  flags.refuse_unknown();
  refuse_words(flags);
  const Destination destination(out.value_or(picture), false);
  warn_of_other_versions(record);

  at::set_num_threads(static_cast<int>(record.threads));
  const auto device = device_named(record.device);
  auto studio = open_studio(
      {base, uses, record.base_hash, device, dtype_named(record.dtype, device), keys, read});
  record.program = MOS_VERSION;
  record.libtorch = TORCH_VERSION;
  PaintProgress progress(1);
  const region::PaintInputs inputs{{}, load_conditions(studio, scene)};
  const auto pictures =
      region::sample_pictures(studio.model, studio.tokens, record.scene, record.options, inputs,
                              progress.of_batch(0), cancel_on_interrupt());
  const auto& pixels = pictures[static_cast<std::int64_t>(record.seed - record.options.seed)];
  const bool same = picture_bytes(pixels, record) == old_bytes;
  const auto differs = fmt::format(
      "the new picture is not the same as {}: it was made by another "
      "version, or on a machine that rounds differently",
      picture.string());
  if (!same && !out) {
    throw Error(ErrorKind::kMismatch, differs + "; name a place for the new one with --out");
  }
  if (!same) log::warn(differs);
  destination.make_folder();
  const auto path = destination.path(record.seed);
  write_picture(path, pixels, record);
  fmt::print("{}\n", path.string());
  return 0;
}

}  // namespace

int run_sample(int argc, char** argv) {
  Flags flags(argc, argv);
  if (flags.take("help") || argc == 0) {
    fmt::print("{}{}{}\n{}", kUsage, kKeyFlagsHelp, flag_help<Settings>(), kConditionHelp);
    return argc == 0 ? exit_code(ErrorKind::kUsage) : 0;
  }
  const auto again = flags.take_path("rerun");
  return again ? rerun(flags, *again) : sample(flags);
}

}  // namespace mos::app
