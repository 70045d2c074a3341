#include <fmt/core.h>

#include <utility>

#include "command.h"
#include "job_flags.h"
#include "mos/base/counted.h"
#include "mos/base/describe.h"
#include "mos/base/text.h"
#include "mos/jobs/tune.h"
#include "mos/tune/plan.h"

namespace mos::app {
namespace {

/// What only a command line has.
struct TuneFlags {
  JobFlags job;
  bool check = false;
};

template <class Visitor>
void describe(Visitor& visit, TuneFlags& own) {
  describe(visit, own.job);
  visit("check", own.check, "check pictures and captions; with --base or --out the command, too");
}

Schema options_of_tune() {
  auto fields = flags_only(schema_of<TuneFlags>());
  add_fields(fields, schema_of<jobs::TuneJob>());
  return fields;
}

constexpr const char* kUsage =
    "usage: mos tune --data FOLDER --out FILE.safetensors [options]\n"
    "\n"
    "Learns a concept from pictures: FOLDER holds images/ and, if you have them, masks/, "
    "captions/\n"
    "and concept.json; folders of kohya and OneTrainer are read too (docs/pictures.md). Ctrl-C "
    "saves;\n"
    "the same command goes on from there.\n"
    "\n"
    "Methods, of which each sets the options below; your own options go over it:\n";

/// What `method` sets apart from the program's defaults, as flags in lines of the help.
std::string settings_of(const tune::Method& method) {
  constexpr std::size_t kColumns = 100;
  tune::TuneOptions options;
  const auto plain = write_options(options);
  method.set(options);
  const auto set = write_options(options);  // items() of a temporary would outlive it
  std::string text, line;
  for (const auto& [name, value] : set.items()) {
    if (value == plain.at(name)) continue;
    auto shown = value.is_string() ? value.get<std::string>() : value.dump();
    if (value.is_array()) shown = shown.substr(1, shown.size() - 2);
    const auto flag = fmt::format(" --{} {}", replaced(name, "_", "-"), shown);
    if (line.size() + flag.size() > kColumns) text += std::exchange(line, "") + "\n";
    line += line.empty() ? "     " + flag : flag;
  }
  return line.empty() ? text : text + line + "\n";
}

std::string help_of_tune() {
  std::string text = kUsage;
  for (const auto& method : tune::methods()) {
    text += fmt::format("  {:<24} {}\n{}", method.name, method.summary, settings_of(method));
  }
  return text + "\n" + flag_help<TuneFlags>() + flag_help<jobs::TuneJob>();
}

/// Names of files and folders are in it as they are.
void print_line(const std::string& sentence) {
  fmt::print("{}\n", printable(sentence, kLongestMessage));
}

int check_only(const jobs::TuneJob& job, const jobs::JobContext& context) {
  // With --out it is the whole command that is checked.
  if (!job.out.empty()) jobs::check(job);
  const auto checked = jobs::check_data(job, context);
  for (const auto& problem : checked.problems) print_line(problem);
  if (const auto count = checked.problems.size(); count > 0) {
    throw Error(ErrorKind::kFormat,
                fmt::format("the pictures in {} cannot be used: {}, listed on stdout; mend "
                            "{} and check again",
                            job.data, counted(count, "problem"), count == 1 ? "it" : "them"));
  }
  print_line(fmt::format("{}: {}, nothing wrong", job.data, checked.summary));
  return 0;
}

int run_tune(Flags& flags, const Terminal& terminal) {
  TuneFlags own;
  flags.read(own);
  const auto [given, origin] = given_options(flags, own.job.config, schema_of<jobs::TuneJob>());
  const auto job = jobs::tune_job(given, origin);
  flags.refuse_words();
  for (const char* name : {"data", "out"}) {
    // A check of the pictures needs no place for a result.
    if (given.contains(name) || (own.check && given.contains("data"))) continue;
    throw Error(ErrorKind::kUsage, fmt::format("mos tune needs --{}; see mos tune --help", name));
  }
  if (own.check) return check_only(job, terminal.context(own.job.config));
  return run_job(job, own.job, terminal);
}

}  // namespace

const Command kTune = {.name = "tune",
                       .summary = "learn a concept from a folder of pictures",
                       .options = options_of_tune,
                       .help = help_of_tune,
                       .run = run_tune};

}  // namespace mos::app
