#include <fmt/core.h>

#include "command.h"
#include "mos/base/describe.h"
#include "mos/base/error.h"
#include "mos/base/json.h"
#include "mos/base/text.h"
#include "mos/jobs/evaluate.h"

namespace mos::app {
namespace {

/// What only a command line has.
struct EvaluateFlags {
  bool json = false;
};

template <class Visitor>
void describe(Visitor& visit, EvaluateFlags& own) {
  visit("json", own.json, "the figures as one JSON object");
}

std::string with_bounds(const eval::Interval& interval) {
  return fmt::format("{:.4f}   {:.4f} to {:.4f}", interval.mean, interval.low, interval.high);
}

void print_table(const jobs::Evaluation& figures) {
  const auto line = [](const std::string& name, const std::string& value) {
    fmt::print("{:<28} {}\n", name, value);
  };
  line("pictures", fmt::format("{}", figures.pictures));
  if (figures.references > 0) line("references", fmt::format("{}", figures.references));
  if (figures.references_among_themselves) {
    line("references_among_themselves",
         fmt::format("{:.4f}", *figures.references_among_themselves));
  }
  for (const auto& [name, interval] : figures.figures) line(name, with_bounds(interval));
  for (const auto& one : figures.regions) {
    fmt::print("region of {}\n", printable(one.references, kLongestMessage));
    line("  identity", with_bounds(one.identity));
    line("  margin", with_bounds(one.margin));
    line("  share above 0", with_bounds(one.positive));
  }
}

std::string help_of_evaluate() {
  return "usage: mos evaluate PICTURE|FOLDER... [--references FOLDER] [--prompt TEXT] [options]\n"
         "\n"
         "Measures pictures by CLIP's eyes, as the paper does: how alike they are to the "
         "concept's\n"
         "own pictures (image alignment), and to what they shall show (text alignment); behind "
         "each\n"
         "figure the bounds of 95 % of its resamples, behind shares Wilson's. With "
         "--region-references each region of a "
         "picture\n"
         "of several concepts is told from the others.\n"
         "\n" +
         flag_help<EvaluateFlags>() +
         option_help(without(schema_of<jobs::EvaluateJob>(), "pictures"));
}

int run_evaluate(Flags& flags, const Terminal& terminal) {
  EvaluateFlags own;
  flags.read(own);
  jobs::EvaluateJob job;
  flags.read(job, "pictures");
  auto context = terminal.context();
  if (own.json) context.result = {};  // stdout is one object
  const auto figures = jobs::run(job, context);
  if (own.json) {
    fmt::print("{}\n", json_text(jobs::to_json(figures), 2));
  } else {
    print_table(figures);
  }
  return 0;
}

}  // namespace

const Command kEvaluate = {.name = "evaluate",
                           .summary = "measure pictures against a concept's own, and a prompt",
                           .options = options_of<EvaluateFlags, jobs::EvaluateJob>,
                           .help = help_of_evaluate,
                           .run = run_evaluate,
                           .words = "pictures"};

}  // namespace mos::app
