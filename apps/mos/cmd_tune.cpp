#include <fmt/core.h>

#include <algorithm>
#include <filesystem>

#include "command.h"
#include "compute.h"
#include "flags.h"
#include "mos/base/describe.h"
#include "mos/base/json.h"
#include "mos/base/log.h"
#include "mos/base/outputs.h"
#include "mos/base/runtime.h"
#include "mos/concepts/concept_writer.h"
#include "mos/tune/caption_check.h"
#include "mos/tune/latents.h"
#include "mos/tune/plan.h"
#include "mos/tune/trainer.h"
#include "mos/tune/tune.h"
#include "output_kinds.h"
#include "terminal.h"
#include "trial.h"

namespace mos::app {
namespace {

namespace fs = std::filesystem;

constexpr const char* kUsage =
    "usage: mos tune --data FOLDER --out FILE.safetensors [options]\n"
    "\n"
    "Learns a concept from pictures: FOLDER holds images/ and, if you have them, masks/, "
    "captions/\n"
    "and concept.json; folders of kohya and OneTrainer are read too (docs/pictures.md). Ctrl-C "
    "saves;\n"
    "the same command goes on from there.\n"
    "\n"
    "  --data FOLDER            the pictures\n"
    "  --out FILE               the concept file to write\n"
    "  --base MODEL             the base model: a diffusers directory or a single file [base]\n"
    "  --config FILE            options from a JSON file; flags go over it\n"
    "  --previews DIR           where sample pictures go [FILE without its ending + -previews]\n"
    "  --check                  only check the pictures and captions; the other options may stay\n"
    "  --dry-run                only say how long it will take and how much memory\n"
    "  --fresh                  do not take up a checkpoint\n"
    "  --device DEVICE          cpu, cuda or cuda:NUMBER [cpu]\n"
    "\n";

std::string method_help() {
  std::string text =
      "Methods, of which each sets the options below; your own options go over it:\n";
  for (const auto& method : tune::methods()) {
    text += fmt::format("  {:<24} {}\n", method.name, method.summary);
  }
  return text;
}

/// What the flags say beside the options of tuning.
struct TuneCommand {
  fs::path data, out, base, config, previews;
  checkpoint::ReadOptions read;
  torch::Device device = torch::kCPU;
  bool names_base = false;  ///< Whether a flag did, or it is the usual place.
  bool only_check = false;
  bool dry_run = false;
  bool fresh = false;
  tune::TuneOptions options;
};

fs::path required(Flags& flags, const std::string& name) {
  const auto value = flags.take(name);
  if (value && !value->empty()) return *value;
  throw Error(ErrorKind::kUsage, fmt::format("mos tune needs --{}; see mos tune --help", name));
}

/// The method first, whoever names it, and over it what the file and the flags say.
tune::TuneOptions read_tune_options(Flags& flags, const fs::path& base, const fs::path& file) {
  const auto config = file.empty() ? Json::object() : read_json_file(file);
  const auto of_config =
      config.is_object() ? json_value<std::string>(config, "method", "") : std::string();
  auto options = tune::method_options(flags.take("method").value_or(of_config), base);
  if (!file.empty()) read_options(config, file.string(), options);
  read_flags(flags, options);
  return options;
}

TuneCommand read_command(Flags& flags) {
  TuneCommand command;
  command.only_check = flags.take_switch("check");
  command.dry_run = flags.take_switch("dry-run");
  command.fresh = flags.take_switch("fresh");
  command.names_base = flags.has("base");
  command.base = flags.take("base").value_or("base");
  read_flags(flags, command.read);
  command.device = device_named(flags.take("device").value_or("cpu"));
  command.config = flags.take_path("config").value_or("");
  command.options = read_tune_options(flags, command.base, command.config);
  const auto previews = flags.take("previews");
  command.data = required(flags, "data");
  if (!command.only_check || flags.has("out")) {
    command.out = required(flags, "out");
    if (command.out.extension() != ".safetensors") {
      throw Error(ErrorKind::kUsage, fmt::format("--out is {}, expected a name that ends in "
                                                 ".safetensors",
                                                 command.out.string()));
    }
    auto beside = command.out;
    command.previews = previews.value_or(beside.replace_extension().string() + "-previews");
  }
  flags.refuse_unknown();
  flags.refuse_words();
  tune::check_options(command.options);
  return command;
}

void show_warnings(const tune::ConceptDataset& dataset) {
  for (const auto& warning : dataset.warnings) log::warn(warning);
}

/// What the base model has to say of words, captions and shapes; without one captions are measured
/// as every Stable Diffusion 1.x and 2.x does.
void check_on_base(const TuneCommand& command, const tune::ConceptDataset& dataset) {
  const bool has_words = !command.options.words.words.empty() || !dataset.words.empty();
  if (!has_words && tune::needs_words(command.options)) return;  // may come with the next call
  const auto complete = tune::complete_options(command.options, dataset);
  if (!command.names_base && !fs::exists(command.base)) {
    tune::warn_of_captions(dataset, complete, text::CLIPTokenizer::clip());
    return;
  }
  const auto base = diffusion::Model::shapes(command.base, command.read);
  tune::warn_of_captions(dataset, complete, base.tokenizer());
  tune::check_shapes(dataset, complete.pictures, tune::canvas_size(base, complete.pictures),
                     base.downscale());
}

int check_only(const TuneCommand& command) {
  const auto [dataset, problems] =
      tune::check_dataset(command.data, tune::dataset_options(command.options));
  show_warnings(dataset);
  for (const auto& problem : problems) fmt::print("{}\n", problem);
  if (!problems.empty()) return exit_code(ErrorKind::kFormat);
  check_on_base(command, dataset);
  fmt::print("{}: {}, nothing wrong\n", command.data.string(), dataset.summary());
  return 0;
}

/// Takes a few steps and says what they mean for the whole run. Sample pictures are not counted.
void estimate(const diffusion::Model& base, const tune::ConceptDataset& dataset,
              const tune::TuneOptions& options, double loading) {
  constexpr int kTrialSteps = 2;  // the first also warms up
  const auto* cancel = cancel_on_interrupt();
  const ScopedThreads threads(options.run.threads);
  tune::Trainer trainer(base, dataset, options);
  Stopwatch watch;
  trainer.draw_batch(0);  // encodes as many pictures as it has
  const double encoding = watch.lap() / static_cast<double>(options.optimiser.batch);
  double step = 0.0;
  for (int i = 0; i < kTrialSteps; ++i) {
    cancel->check();
    trainer.draw_batch(i * options.optimiser.accumulate);
    watch.lap();
    trainer.step();
    step = watch.lap();
  }
  const auto steps = options.optimiser.steps;
  const auto seen = steps * options.optimiser.batch * options.optimiser.accumulate;
  const auto framings =
      options.pictures.variants * static_cast<std::int64_t>(dataset.pictures.size());
  const auto encoded = options.pictures.variants == 0 ? seen : std::min(framings, seen);
  print_estimate(
      loading + encoding * static_cast<double>(encoded) + step * static_cast<double>(steps),
      fmt::format("measured on {} of {} steps, {:.2f} s each", kTrialSteps, steps, step));
}

fs::path checkpoint_of(const TuneCommand& command) { return command.out.string() + ".checkpoint"; }

void check_outputs(const TuneCommand& command) {
  Outputs outputs;
  outputs.read("--data", command.data);
  outputs.read("--base", command.base);
  outputs.read("--original-config", command.read.original_config);
  outputs.read("--config", command.config);
  outputs.write(FileOutput{.name = "--out", .path = command.out, .kind = concept_kind()});
  outputs.write(FileOutput{
      .name = "the checkpoint beside --out", .path = checkpoint_of(command), .kind = any_kind()});
  if (command.options.run.preview_pictures > 0) {
    outputs.write(FileOutput{.name = "--previews",
                             .path = command.previews / "step-000000-0.png",  // one for all
                             .kind = picture_kind(),
                             .makes_folder = true});
  }
  outputs.check();
}

/// The checkpoint goes last, when the concept is on disk.
void save(const TuneCommand& command, const concepts::ConceptDelta& delta) {
  const auto checkpoint = checkpoint_of(command);
  try {
    concepts::save_concept(command.out, delta);
  } catch (const Error& error) {
    if (!fs::exists(checkpoint)) throw;
    throw Error(error.kind(), fmt::format("{}. The run is kept in {}: when that is mended, the "
                                          "same command writes the concept",
                                          error.what(), checkpoint.string()));
  }
  std::error_code code;
  fs::remove(checkpoint, code);
  if (code) log::warn(fmt::format("cannot remove {}: {}", checkpoint.string(), code.message()));
}

void tune_and_save(const TuneCommand& command) {
  Stopwatch watch;
  const auto& options = command.options;
  const auto dataset = tune::load_dataset(command.data, tune::dataset_options(options));
  show_warnings(dataset);
  const auto complete = tune::complete_options(options, dataset);
  check_outputs(command);

  const auto base =
      diffusion::Model::load(command.base, {.dtype = dtype_named(options.run.dtype, command.device),
                                            .device = command.device,
                                            .read = command.read});
  if (command.dry_run) return estimate(base, dataset, complete, watch.lap());
  tune::TuneHooks hooks{.cancel = cancel_on_interrupt(),
                        .checkpoint = checkpoint_of(command),
                        .fresh = command.fresh,
                        .preview_folder = command.previews,
                        .program_version = MOS_VERSION};
  hooks.progress = ProgressBar();
  log::info(fmt::format("tuning {} on {}", command.out.stem().string(), dataset.summary()));
  save(command, tune::tune_concept(base, dataset, complete, hooks));
  fmt::print("{}\n", command.out.string());
}

}  // namespace

int run_tune(int argc, char** argv) {
  Flags flags(argc, argv);
  if (flags.take_switch("help") || argc == 0) {
    fmt::print("{}{}\n{}\n{}", kUsage, method_help(), flag_help<checkpoint::ReadOptions>(),
               flag_help<tune::TuneOptions>());
    return argc == 0 ? exit_code(ErrorKind::kUsage) : 0;
  }
  const auto command = read_command(flags);
  if (command.only_check) return check_only(command);
  tune_and_save(command);
  return 0;
}

}  // namespace mos::app
