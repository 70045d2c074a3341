#include <fmt/core.h>
#include <fmt/ranges.h>

#include <array>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "command.h"
#include "mos/base/describe.h"
#include "mos/base/json.h"
#include "mos/base/text.h"
#include "mos/checkpoint/describe.h"
#include "mos/concepts/describe.h"
#include "mos/diffusion/adapter.h"
#include "mos/diffusion/describe_adapter.h"
#include "mos/diffusion/model.h"
#include "mos/io/tensor_file.h"
#include "mos/session/picture_record.h"

namespace mos::app {
namespace {

namespace fs = std::filesystem;

struct Settings {
  std::string base;
  bool json = false;
  checkpoint::ReadOptions read;
};

template <class Visitor>
void describe(Visitor& visit, Settings& settings) {
  visit("base", settings.base,
        "does every file fit this base model? Says how many of its keys do; the exit status is 4 "
        "if any file does not",
        a_path());
  visit("json", settings.json, "one JSON object for each file");
  describe(visit, settings.read);
}

std::string help() {
  return "usage: mos inspect FILE|FOLDER... [--base MODEL] [--json]\n"
         "\n"
         "Says what each file is, without loading it: kind, family, precision, metadata, what it "
         "loads\n"
         "onto, and of a base model what can be used with it. Models, parts of models, LoRAs,\n"
         "embeddings, concepts, T2I-Adapters and ControlNets are known, in safetensors and in "
         "files of\n"
         "torch.save, of which nothing is ever run.\n"
         "\n" +
         flag_help<Settings>();
}

/// What a file is, or nothing when it is of a kind that others know.
using Recogniser = std::optional<Json> (*)(const io::TensorFile&);

constexpr std::array kRecognisers = {
    Recogniser{diffusion::describe_adapter},
    Recogniser{checkpoint::describe_model},
    Recogniser{concepts::describe_concept},
};

/// The file with the tensors of `path`: itself, or the weights of a folder with one network.
fs::path tensors_of(const fs::path& path) {
  return fs::is_directory(path) ? checkpoint::weights_in(path) : path;
}

Json inspect(const fs::path& path) {
  Json report = {{"file", path.string()}};
  if (fs::is_directory(path) && checkpoint::is_model_folder(path)) {
    report.update(checkpoint::describe_model_folder(path));
    return report;
  }
  const auto file = io::read_tensor_file(tensors_of(path));
  std::optional<Json> description;
  for (const auto recognise : kRecognisers) {
    if (!description) description = recognise(file);
  }
  report.update(description ? *description : Json{{"kind", "unknown"}});
  if (file.path != path) report["weights"] = file.path.filename().string();
  report.update(checkpoint::describe_tensors(file));
  if (file.path == path) report["sha256"] = session::file_hash(path);
  return report;
}

// ---- Does it fit? ----

/// Whether a file fits a base model, with what becomes of its keys or why it does not.
Json fit_json(bool fits, const std::string& keys, std::vector<std::string> problems) {
  Json json = {{"fits", fits}};
  if (!keys.empty()) json["keys"] = keys;
  if (!problems.empty()) json["problems"] = std::move(problems);
  return json;
}

Json fit_of_concept(const concepts::KeyReport& keys) {
  auto problems = keys.wrong;
  for (const auto& key : keys.missing) problems.push_back(key + " (missing)");
  for (const auto& [key, why] : keys.unexpected) {
    problems.push_back(fmt::format("{} (unexpected: {})", key, why));
  }
  return fit_json(keys.all_matched(), keys.summary(), std::move(problems));
}

Json fit_of_adapter(const fs::path& path, const diffusion::Model& base) {
  try {
    const auto adapter = diffusion::load_adapter(path, base);
    const auto keys =
        std::visit([](const auto& network) { return io::state_dict_of(*network).size(); }, adapter);
    return fit_json(true, fmt::format("{} keys matched, 0 missing, 0 unexpected", keys), {});
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kMismatch) throw;
    return fit_json(false, "", {error.what()});
  }
}

/// Throws kUsage for what is put onto no base model.
Json fit_onto(const fs::path& path, diffusion::Model& base) {
  if (!fs::is_directory(path) || !checkpoint::is_model_folder(path)) {
    const auto file = io::read_tensor_file(tensors_of(path));
    if (diffusion::describe_adapter(file)) return fit_of_adapter(path, base);
    const auto keys = concepts::compare_with_base(file, base);
    if (keys && !checkpoint::describe_model(file)) return fit_of_concept(*keys);
  }
  throw Error(ErrorKind::kUsage,
              fmt::format("{} goes onto no base model; --base is for LoRA, embeddings, concepts, "
                          "T2I-Adapters and ControlNets",
                          path.string()));
}

// ---- What is printed ----

/// One line for each entry; those of nested objects are set in.
void print_lines(const Json& report, const std::string& margin) {
  for (const auto& [key, value] : report.items()) {
    if (value.is_object()) {
      fmt::print("{}{}:\n", margin, printable(key));
      print_lines(value, margin + "  ");
    } else if (key == "problems") {  // each in full: they are what was asked for
      fmt::print("{}{}:\n", margin, key);
      for (const auto& problem : value) {
        fmt::print("{}  {}\n", margin, printable(problem.get<std::string>()));
      }
    } else {
      // Trainers keep whole lists of captions in the metadata; --json has them in full.
      fmt::print("{}{}: {}\n", margin, printable(key),
                 value.is_string() ? printable(value.get<std::string>()) : quoted(value));
    }
  }
}

void print(const Json& report, bool as_json) {
  if (as_json) {
    fmt::print("{}\n", json_text(report, 2));
  } else {
    print_lines(report, "");
  }
}

int run(Flags& flags, const Terminal&) {
  Settings settings;
  flags.read(settings);
  if (flags.words().empty()) {
    throw Error(ErrorKind::kUsage, "mos inspect needs a file or a folder; see mos inspect --help");
  }
  std::optional<diffusion::Model> base;
  if (!settings.base.empty()) {
    base = diffusion::Model::shapes(settings.base, settings.read);
  }
  std::vector<std::string> misfits;
  for (const auto& word : flags.words()) {
    auto report = inspect(word);
    if (base) {
      const auto fit = fit_onto(word, *base);
      if (!fit.at("fits").get<bool>()) misfits.push_back(word);
      report[fmt::format("on {}", settings.base)] = fit;
    }
    print(report, settings.json);
  }
  if (misfits.empty()) return 0;
  throw Error(
      ErrorKind::kMismatch,
      fmt::format("{} of {} files do not fit the base model {}: {}; the reasons are above",
                  misfits.size(), flags.words().size(), settings.base, fmt::join(misfits, ", ")));
}

}  // namespace

const Command kInspect = {.name = "inspect",
                          .summary = "say what a file is: model, LoRA, concept, …",
                          .options = options_of<Settings>,
                          .help = help,
                          .run = run};

}  // namespace mos::app
