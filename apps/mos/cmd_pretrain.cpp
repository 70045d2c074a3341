#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <filesystem>

#include "command.h"
#include "mos/base/describe.h"
#include "mos/base/error.h"
#include "mos/base/file.h"
#include "mos/demo/concept_trial.h"
#include "mos/pretrain/acceptance.h"
#include "mos/pretrain/adapter_training.h"
#include "mos/pretrain/data.h"
#include "mos/pretrain/decoder_training.h"
#include "mos/pretrain/export.h"
#include "mos/pretrain/judge.h"
#include "mos/pretrain/tower_training.h"
#include "mos/pretrain/unet_training.h"
#include "mos/pretrain/vae_training.h"

namespace mos::app {
namespace {

/// Throws for a folder with something in it that no stage has begun: its files would be replaced.
void check_stage_folder(const std::filesystem::path& folder) {
  std::error_code code;
  const bool is_used = std::filesystem::is_directory(folder, code) &&
                       !std::filesystem::is_empty(folder, code) &&
                       !std::filesystem::exists(folder / "options.json", code);
  if (!is_used) return;
  throw Error(ErrorKind::kUsage, fmt::format("{} holds something else than a stage of mos "
                                             "pretrain; choose another --out",
                                             folder.string()));
}

/// The options of a stage as they were when it started, overwritten by what the flags say now, and
/// saved again: a resumed run needs no flags.
template <class Options>
Options stage_options(Flags& flags, const std::filesystem::path& folder, Options options = {}) {
  const auto path = folder / "options.json";
  if (std::filesystem::exists(path)) read_options(read_json_file(path), path.string(), options);
  flags.read(options);
  flags.refuse_unknown();
  check_stage_folder(folder);
  make_folders(folder);
  write_text_file(path, write_options(options).dump(2) + "\n");
  return options;
}

void prepare_data(Flags& flags, const std::filesystem::path& out, const Terminal&) {
  pretrain::DataOptions options;
  const auto path = out / "data" / "options.json";
  if (std::filesystem::exists(path)) read_options(read_json_file(path), path.string(), options);
  flags.read(options);
  flags.refuse_unknown();
  pretrain::Dataset::prepare(out, options);
}

void train_vae(Flags& flags, const std::filesystem::path& out, const Terminal& terminal) {
  const auto options = stage_options<pretrain::VaeOptions>(flags, out / "vae");
  pretrain::train_vae(out, options, terminal.progress(), cancel_on_interrupt());
}

void train_decoder(Flags& flags, const std::filesystem::path& out, const Terminal& terminal) {
  const auto options = stage_options<pretrain::DecoderOptions>(flags, out / "vae_decoder");
  pretrain::train_decoder(out, options, terminal.progress(), cancel_on_interrupt());
}

template <pretrain::TowerRole kRole>
void train_towers(Flags& flags, const std::filesystem::path& out, const Terminal& terminal) {
  const auto options =
      stage_options(flags, out / pretrain::folder_of(kRole), pretrain::tower_options(kRole));
  pretrain::train_towers(out, kRole, options, terminal.progress(), cancel_on_interrupt());
}

void train_unet(Flags& flags, const std::filesystem::path& out, const Terminal& terminal) {
  const auto options = stage_options<pretrain::UNetOptions>(flags, out / "unet");
  pretrain::train_unet(out, options, terminal.progress(), cancel_on_interrupt());
}

/// Each kind has a folder, and options, of its own.
void train_adapter(Flags& flags, const std::filesystem::path& out, const Terminal& terminal) {
  pretrain::AdapterOptions options;
  options.kind = flags.take("kind").value_or(options.kind);
  const auto folder = pretrain::adapter_folder(out, pretrain::condition_kind(options.kind));
  options = stage_options<pretrain::AdapterOptions>(flags, folder);
  pretrain::train_adapter(out, options, terminal.progress(), cancel_on_interrupt());
}

/// What is asked of the sample concepts: all together, none of them for itself.
std::vector<pretrain::AcceptanceRow> concept_rows(const std::string& concepts,
                                                  const std::filesystem::path& out,
                                                  const Terminal& terminal) {
  demo::TrialOptions trial{
      .base = (out / "export").string(), .concepts = concepts, .out = (out / "concepts").string()};
  for (const auto& prompt : pretrain::background_prompts(pretrain::Dataset(out).world())) {
    trial.backgrounds.push_back(prompt.substr(std::string("a photo ").size()));
  }
  std::vector<pretrain::AcceptanceRow> rows;
  double alone = 0.0, in_places = 0.0, told = 0.0, all = 0.0, placed = 0.0, slowest = 0.0;
  for (const auto& figures :
       demo::try_concepts(trial, terminal.progress(), cancel_on_interrupt())) {
    rows.push_back(
        {"concept " + figures.name + ": alignment over its own pictures'", figures.alone, 0.0});
    alone += figures.alone;
    all += 1.0;
    slowest = std::max(slowest, figures.tuning_seconds);
    if (!figures.placed) continue;
    in_places += figures.in_places;
    told += figures.places_told;
    placed += 1.0;
  }
  rows.push_back({"concepts: alignment over their own pictures'", alone / all, 0.90});
  rows.push_back({"concepts: the same on the beach and in the snow", in_places / placed, 0.85});
  rows.push_back({"concepts: beach and snow recognised", told / placed, 0.90});
  rows.push_back({"concepts: seconds of the slowest tuning", slowest, 0.0, 90.0});
  return rows;
}

void accept(Flags& flags, const std::filesystem::path& out, const Terminal& terminal) {
  pretrain::AcceptanceOptions options;
  const auto concepts = flags.take("concepts");
  flags.read(options);
  flags.refuse_unknown();
  if (concepts && !std::filesystem::exists(out / "export")) {
    throw Error(ErrorKind::kIo,
                fmt::format("concepts are tuned on {}, which is not there; write it with `mos "
                            "pretrain export --out {}`",
                            (out / "export").string(), out.string()));
  }
  auto rows = pretrain::accept(out, options, terminal.progress(), cancel_on_interrupt());
  if (concepts) {
    for (auto& row : concept_rows(*concepts, out, terminal)) rows.push_back(std::move(row));
  }
  pretrain::write_acceptance(out, options, rows);
  fmt::print("{}", pretrain::acceptance_table(rows));
}

void export_base(Flags& flags, const std::filesystem::path& out, const Terminal&) {
  const auto target = flags.take("to").value_or((out / "export").string());
  flags.refuse_unknown();
  pretrain::export_base(out, target);
  fmt::print("{}\n", target);
}

template <pretrain::TowerRole kRole>
Schema tower_fields() {
  return schema_of(pretrain::tower_options(kRole));
}

struct Stage {
  const char* name;
  const char* summary;
  void (*run)(Flags&, const std::filesystem::path&, const Terminal&);
  Schema (*fields)();  ///< Beside --out.
};

struct Folder {
  std::string concepts;
};

template <class Visitor>
void describe(Visitor& visit, Folder& folder) {
  visit("concepts", folder.concepts, "folder of concepts to tune on OUT/export and to measure, too",
        a_path());
}

struct Target {
  std::string to;
};

template <class Visitor>
void describe(Visitor& visit, Target& target) {
  visit("to", target.to, "the diffusers directory to write (empty: OUT/export)", a_path());
}

constexpr std::array kStages = {
    Stage{"data", "choose the pictures, which are drawn when needed, and write the tokenizer",
          prepare_data, options_of<pretrain::DataOptions>},
    Stage{"vae", "train the autoencoder", train_vae, options_of<pretrain::VaeOptions>},
    Stage{"towers", "train the text and the image tower",
          train_towers<pretrain::TowerRole::kTowers>, tower_fields<pretrain::TowerRole::kTowers>},
    Stage{"judge", "train the towers that judge the pictures, and nothing else",
          train_towers<pretrain::TowerRole::kJudge>, tower_fields<pretrain::TowerRole::kJudge>},
    Stage{"decoder", "train the autoencoder's decoder for sharp edges, with the towers' help",
          train_decoder, options_of<pretrain::DecoderOptions>},
    Stage{"unet", "train the U-Net and its text encoder", train_unet,
          options_of<pretrain::UNetOptions>},
    Stage{"adapter", "train a T2I-Adapter for the finished U-Net", train_adapter,
          options_of<pretrain::AdapterOptions>},
    Stage{"accept", "measure whether the base is good enough", accept,
          options_of<Folder, pretrain::AcceptanceOptions>},
    Stage{"export", "write it as a diffusers directory", export_base, options_of<Target>},
};

struct Place {
  std::string out;
};

template <class Visitor>
void describe(Visitor& visit, Place& place) {
  visit("out", place.out, "folder of everything", a_path());
}

/// Of all stages: each refuses those of the others.
Schema options() {
  auto fields = schema_of<Place>();
  for (const auto& stage : kStages) add_fields(fields, stage.fields());
  return fields;
}

std::string help() {
  std::string text = "usage: mos pretrain <stage> --out DIR [options]\n\n";
  for (const auto& stage : kStages) {
    text += fmt::format("  {:<8} {}\n", stage.name, stage.summary);
  }
  return text;
}

const Stage& stage_named(const std::string& wanted) {
  std::vector<std::string> names;
  for (const auto& stage : kStages) {
    if (wanted == stage.name) return stage;
    names.emplace_back(stage.name);
  }
  throw Error(ErrorKind::kUsage,
              fmt::format("mos pretrain has no stage {}{}", wanted, did_you_mean(wanted, names)));
}

std::string help_of(const std::string& name) {
  const auto& stage = stage_named(name);
  return fmt::format(
             "usage: mos pretrain {} --out DIR [options]\n\n{}: a resumed stage keeps the options "
             "it was started with\n\n",
             stage.name, stage.summary) +
         option_help(stage.fields());
}

int run(Flags& flags, const Terminal& terminal) {
  if (flags.words().empty()) throw Error(ErrorKind::kUsage, "mos pretrain needs a stage");
  flags.refuse_words(1);
  const auto& stage = stage_named(flags.words().front());
  Place place;
  flags.read(place);
  if (place.out.empty()) throw Error(ErrorKind::kUsage, "mos pretrain needs --out DIR");
  stage.run(flags, place.out, terminal);
  return 0;
}

}  // namespace

const Command kPretrain = {.name = "pretrain",
                           .summary = "train the embedded base model from nothing",
                           .options = options,
                           .help = help,
                           .run = run,
                           .help_of = help_of};

}  // namespace mos::app
