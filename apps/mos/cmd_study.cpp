#include <fmt/core.h>

#include <numeric>

#include "command.h"
#include "mos/base/counted.h"
#include "mos/base/describe.h"
#include "mos/base/error.h"
#include "mos/base/file.h"
#include "mos/study/parts.h"
#include "mos/study/preference.h"
#include "mos/study/study.h"
#include "terminal.h"

namespace mos::app {
namespace {

/// What only a command line has.
struct StudyFlags {
  std::string config;
  bool dry_run = false;
};

template <class Visitor>
void describe(Visitor& visit, StudyFlags& own) {
  visit("config", own.config, "options from a JSON file; flags overrule it", a_path());
  visit("dry_run", own.dry_run, "only say how many cells are missing, and how long they will take");
}

Schema options_of_study() {
  auto fields = schema_of<study::StudyOptions>();
  add_fields(fields, flags_only(schema_of<StudyFlags>()));
  return fields;
}

std::string help_of_study() {
  std::string text =
      "usage: mos study --concepts DIR... [--choose DIR...] [--check DIR...] [options]\n"
      "\n"
      "Compares ways to tune, to merge and to paint several concepts on the same prompts and "
      "seeds:\n"
      "tables with intervals and pictures side by side in OUT. Every concept tuned, model merged "
      "and\n"
      "picture painted is kept there, so the same command goes on where it was interrupted.\n"
      "\n"
      "parts:\n";
  for (const auto& part : study::parts()) {
    text += fmt::format("  {:<12} {}\n", part.name, part.summary);
  }
  return text + "\n" + flag_help<study::StudyOptions>() + flag_help<StudyFlags>();
}

study::StudyOptions options_given(Flags& flags, const std::string& config) {
  const auto [given, origin] = given_options(flags, config, schema_of<study::StudyOptions>());
  study::StudyOptions options;
  read_options(given, origin, options);
  return options;
}

void print_forecast(const study::Forecast& forecast, bool anew, const Terminal& terminal) {
  for (const auto& [kind, count] : forecast.kinds) {
    fmt::print("{:<8} {:>6} done {:>6} to be made in about {}, {} of them anew\n", kind, count.done,
               count.missing, duration_text(count.seconds), count.outdated);
  }
  terminal.tell_estimate(forecast.whole);
  const auto outdated = std::accumulate(
      forecast.kinds.begin(), forecast.kinds.end(), std::int64_t{0},
      [](std::int64_t sum, const auto& entry) { return sum + entry.second.outdated; });
  if (outdated > 0 && !anew) fmt::print("what is there of other options is kept without --anew\n");
}

int run_study(Flags& flags, const Terminal& terminal) {
  StudyFlags own;
  flags.read(own);
  const auto options = options_given(flags, own.config);
  flags.refuse_words();
  const auto context = terminal.context(own.config);
  study::check(options);
  if (!options.answers.empty()) {
    fmt::print("{}", study::preference_text(
                         study::count_answers(study::folder_of(options), options.answers)));
  } else if (own.dry_run) {
    print_forecast(study::forecast(options, context), options.anew, terminal);
  } else {
    const auto report = study::run(options, context);
    if (!report.failures.empty()) {
      throw Error(ErrorKind::kMismatch,
                  fmt::format("{} of the study could not be made, and their rows say so: {}",
                              counted(report.failures.size(), "cell"), *report.failures.begin()));
    }
  }
  return 0;
}

}  // namespace

const Command kStudy = {.name = "study",
                        .summary = "compare ways to tune, merge and paint, with intervals",
                        .options = options_of_study,
                        .help = help_of_study,
                        .run = run_study};

}  // namespace mos::app
