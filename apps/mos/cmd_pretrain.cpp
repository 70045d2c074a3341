#include <fmt/core.h>

#include <array>
#include <filesystem>

#include "command.h"
#include "mos/base/describe.h"
#include "mos/base/error.h"
#include "mos/pretrain/acceptance.h"
#include "mos/pretrain/adapter_training.h"
#include "mos/pretrain/average.h"
#include "mos/pretrain/concept_acceptance.h"
#include "mos/pretrain/data.h"
#include "mos/pretrain/decoder_training.h"
#include "mos/pretrain/export.h"
#include "mos/pretrain/import.h"
#include "mos/pretrain/stage.h"
#include "mos/pretrain/tower_training.h"
#include "mos/pretrain/unet_training.h"
#include "mos/pretrain/vae_training.h"

namespace mos::app {
namespace {

/// Of a stage that may have been begun before.
template <class Options>
Options stage_options(Flags& flags, const std::filesystem::path& folder, Options options = {}) {
  const auto given = flags.values(schema_of(options));
  flags.refuse_unknown();
  return pretrain::take_up(folder, given, kOrigin, options);
}

void prepare_data(Flags& flags, const std::filesystem::path& out, const Terminal&) {
  auto options = pretrain::kept_options<pretrain::DataOptions>(out / "data");
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

void accept(Flags& flags, const std::filesystem::path& out, const Terminal& terminal) {
  pretrain::AcceptanceOptions options;
  flags.read(options);
  flags.refuse_unknown();
  if (!options.concepts.empty()) pretrain::check_tunable(out, options);
  const auto* cancel = cancel_on_interrupt();
  auto rows = pretrain::accept(out, options, terminal.progress(), cancel);
  if (!options.concepts.empty()) {
    auto more = pretrain::accept_concepts(out, options, terminal.progress(), cancel);
    rows.insert(rows.end(), more.begin(), more.end());
  }
  pretrain::write_acceptance(out, options, rows);
  fmt::print("{}", pretrain::acceptance_table(rows));
}

void export_base(Flags& flags, const std::filesystem::path& out, const Terminal&) {
  pretrain::ExportOptions options;
  flags.read(options);
  flags.refuse_unknown();
  fmt::print("{}\n", pretrain::export_base(out, options).string());
}

void import_base(Flags& flags, const std::filesystem::path& out, const Terminal&) {
  pretrain::ImportOptions options;
  flags.read(options);
  flags.refuse_unknown();
  pretrain::import_base(out, options);
}

void average_with(Flags& flags, const std::filesystem::path& out, const Terminal&) {
  pretrain::AverageOptions options;
  flags.read(options);
  flags.refuse_unknown();
  pretrain::average_with(out, options);
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

constexpr std::array kStages = {
    Stage{"data", "choose the pictures, which are drawn when needed, and write the tokenizer",
          prepare_data, options_of<pretrain::DataOptions>},
    Stage{"import", "take the autoencoder and the judge of a base to go on from", import_base,
          options_of<pretrain::ImportOptions>},
    Stage{"vae", "train the autoencoder", train_vae, options_of<pretrain::VaeOptions>},
    Stage{"towers", "train the text and the image tower",
          train_towers<pretrain::TowerRole::kTowers>, tower_fields<pretrain::TowerRole::kTowers>},
    Stage{"judge", "train the towers that judge the pictures, and nothing else",
          train_towers<pretrain::TowerRole::kJudge>, tower_fields<pretrain::TowerRole::kJudge>},
    Stage{"decoder", "train the autoencoder's decoder for sharp edges, with the towers' help",
          train_decoder, options_of<pretrain::DecoderOptions>},
    Stage{"unet", "train the U-Net and its text encoder", train_unet,
          options_of<pretrain::UNetOptions>},
    Stage{"average", "average the U-Net and its text encoder with those of another base",
          average_with, options_of<pretrain::AverageOptions>},
    Stage{"adapter", "train a T2I-Adapter for the finished U-Net", train_adapter,
          options_of<pretrain::AdapterOptions>},
    Stage{"accept", "measure whether the base is good enough", accept,
          options_of<pretrain::AcceptanceOptions>},
    Stage{"export", "write it as a diffusers directory", export_base,
          options_of<pretrain::ExportOptions>},
};

struct Place {
  std::string out;
};

template <class Visitor>
void describe(Visitor& visit, Place& place) {
  visit("out", place.out, "folder of everything", a_path());
}

/// Of all stages: each refuses those of the others.
Schema options_of_pretrain() {
  auto fields = schema_of<Place>();
  for (const auto& stage : kStages) add_fields(fields, stage.fields());
  return fields;
}

std::string help_of_pretrain() {
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

int run_pretrain(Flags& flags, const Terminal& terminal) {
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
                           .options = options_of_pretrain,
                           .help = help_of_pretrain,
                           .run = run_pretrain,
                           .help_of = help_of};

}  // namespace mos::app
