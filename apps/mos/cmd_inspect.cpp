#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "command.h"
#include "mos/base/describe.h"
#include "mos/base/error.h"
#include "mos/base/json.h"
#include "mos/base/log.h"
#include "mos/base/text.h"
#include "mos/diffusion/model.h"
#include "mos/session/inspect.h"

namespace mos::app {
namespace {

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
  visit(
      "json", settings.json,
      "one JSON object for each file, with every problem, or with the error of one that cannot be "
      "read");
  describe(visit, settings.read);
}

std::string help_of_inspect() {
  return "usage: mos inspect FILE|FOLDER... [--base MODEL] [--json]\n"
         "\n"
         "Says what each file is, without loading it: kind, family, precision, metadata, what it "
         "loads\n"
         "onto, and of a base model what can be used with it. Models, parts of models, LoRAs,\n"
         "embeddings, concepts, T2I-Adapters and ControlNets are known, in safetensors and in "
         "files of\n"
         "torch.save, of which nothing is ever run. Values are not looked at: what uses a file "
         "refuses\n"
         "NaN and infinity. Of more than 100 problems of a file it prints the first and how many "
         "there are;\n"
         "--json has them all. Files behind one that cannot be read are said, too.\n"
         "\n" +
         flag_help<Settings>();
}

constexpr std::size_t kMostProblems = 100;  // of a file; one may have as many as it has keys

/// One line for each, and how many there are beyond the first.
void print_problems(const Json& problems, const std::string& margin) {
  const auto shown = std::min(problems.size(), kMostProblems);
  for (std::size_t i = 0; i < shown; ++i) {
    fmt::print("{}{}\n", margin, printable(problems[i].get<std::string>()));
  }
  if (shown < problems.size()) {
    fmt::print("{}and {} more\n", margin, problems.size() - shown);
  }
}

/// One line for each entry; those of nested objects are set in.
void print_lines(const Json& report, const std::string& margin) {
  for (const auto& [key, value] : report.items()) {
    if (value.is_object()) {
      fmt::print("{}{}:\n", margin, printable(key));
      print_lines(value, margin + "  ");
    } else if (key == "problems") {  // each in full: they are what was asked for
      fmt::print("{}{}:\n", margin, key);
      print_problems(value, margin + "  ");
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

/// What became of the files that were asked for.
struct Findings {
  std::vector<std::string> misfits;
  std::vector<std::string> unread;
  std::vector<Error> faults;  ///< Of those that were not read, in their order.
};

/// Prints what a file is; a file that cannot be read is noted, as those behind it are good perhaps.
void inspect_one(const std::string& file, const Settings& settings,
                 std::optional<diffusion::Model>& base, Findings& findings) {
  try {
    auto report = session::inspect(file);
    if (base) {
      const auto fit = session::fit_onto(file, *base);
      if (!fit.fits) findings.misfits.push_back(file);
      report[fmt::format("on {}", settings.base)] = session::to_json(fit);
    }
    print(report, settings.json);
  } catch (const Error& error) {
    findings.unread.push_back(file);
    findings.faults.push_back(error);
    if (settings.json) print({{"file", file}, {"error", error.what()}}, true);
  }
}

/// One fault ends the command in its own words; of several each is said, and how many there are.
void end_with(const Findings& findings, std::size_t files, const std::string& base) {
  const auto& [misfits, unread, faults] = findings;
  if (unread.size() > 1) {
    for (const auto& fault : faults) log::warn(fault.what());
  }
  if (!misfits.empty()) {
    const Error misfit(
        ErrorKind::kMismatch,
        fmt::format("{} of {} files do not fit the base model {}: {}; the reasons are above",
                    misfits.size(), files, base, fmt::join(misfits, ", ")));
    if (unread.size() == 1) log::warn(faults.front().what());
    throw misfit;
  }
  if (unread.size() == 1) throw faults.front();
  if (unread.empty()) return;
  throw Error(faults.front().kind(),
              fmt::format("{} of {} files cannot be inspected: {}; the reasons are above",
                          unread.size(), files, fmt::join(unread, ", ")));
}

int run_inspect(Flags& flags, const Terminal&) {
  Settings settings;
  flags.read(settings);
  if (flags.words().empty()) {
    throw Error(ErrorKind::kUsage, "mos inspect needs a file or a folder; see mos inspect --help");
  }
  if (settings.base.empty() && settings.read != checkpoint::ReadOptions()) {
    throw Error(ErrorKind::kUsage,
                "--variant, --ema, --prediction-type and --original-config say how --base is read, "
                "and there is none; name one, or leave them out");
  }
  std::optional<diffusion::Model> base;
  if (!settings.base.empty()) {
    base = diffusion::Model::shapes(settings.base, settings.read);
  }
  Findings findings;
  for (const auto& word : flags.words()) inspect_one(word, settings, base, findings);
  end_with(findings, flags.words().size(), settings.base);
  return 0;
}

}  // namespace

const Command kInspect = {.name = "inspect",
                          .summary = "say what a file is: model, LoRA, concept, …",
                          .options = options_of<Settings>,
                          .help = help_of_inspect,
                          .run = run_inspect};

}  // namespace mos::app
