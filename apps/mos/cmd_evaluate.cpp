#include <fmt/core.h>

#include "command.h"
#include "mos/base/describe.h"
#include "mos/jobs/evaluate.h"

namespace mos::app {
namespace {

/// What only a command line has.
struct Own {
  bool json = false;
};

template <class Visitor>
void describe(Visitor& visit, Own& own) {
  visit("json", own.json, "the figures as one JSON object");
}

std::string help() {
  return "usage: mos evaluate PICTURE|FOLDER... [--references FOLDER] [--prompt TEXT] [options]\n"
         "\n"
         "Measures pictures by CLIP's eyes, as the paper does: how alike they are to the "
         "concept's\n"
         "own pictures (image alignment), and to what they shall show (text alignment).\n"
         "\n" +
         flag_help<Own>() + option_help(without(schema_of<jobs::EvaluateJob>(), "pictures"));
}

int run(Flags& flags, const Terminal& terminal) {
  Own own;
  flags.read(own);
  jobs::EvaluateJob job;
  flags.read(job, "pictures");
  const auto figures = jobs::to_json(jobs::run(job, terminal.context()));
  if (own.json) {
    fmt::print("{}\n", json_text(figures, 2));
    return 0;
  }
  for (const auto& [name, value] : figures.items()) {
    fmt::print("{:<28} {}\n", name,
               value.is_number_float() ? fmt::format("{:.4f}", value.get<double>()) : value.dump());
  }
  return 0;
}

}  // namespace

const Command kEvaluate = {.name = "evaluate",
                           .summary = "measure pictures against a concept's own, and a prompt",
                           .options = options_of<Own, jobs::EvaluateJob>,
                           .help = help,
                           .run = run,
                           .words = "pictures"};

}  // namespace mos::app
