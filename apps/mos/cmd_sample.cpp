#include <fmt/core.h>

#include "command.h"
#include "mos/base/describe.h"
#include "mos/diffusion/scheduler.h"
#include "mos/jobs/sample.h"

namespace mos::app {
namespace {

/// What only a command line has.
struct Own {
  std::string config;
  bool dry_run = false;
  bool list_schedulers = false;
};

template <class Visitor>
void describe(Visitor& visit, Own& own) {
  visit("config", own.config, "options from a JSON file; flags go over it", a_path());
  visit("dry_run", own.dry_run, "only say how long it will take and how much memory");
  visit("list_schedulers", own.list_schedulers, "schedulers and sigmas with their names elsewhere");
}

std::string help() {
  return "usage: mos sample --prompt TEXT [--concept FILE,...] [options]\n"
         "       mos sample --scene FILE.json [--concept FILE,...] [options]\n"
         "       mos sample --rerun PICTURE.png [--out FILE.png]\n"
         "       mos sample --from PICTURE.png [options that change]\n"
         "       mos sample --list-schedulers\n"
         "\n"
         "Paints pictures from a prompt, or from a prompt and more prompts for regions of the "
         "canvas.\n"
         "Every PNG says how it was made, and so does the .json beside it; --rerun makes it "
         "again.\n"
         "Commas stand between several files or numbers (docs/conditions.md has adapters).\n"
         "\n" +
         flag_help<Own>() + flag_help<jobs::SampleJob>() +
         "\nThe same picture once more, from files that may have moved:\n" +
         flag_help<jobs::RerunJob>();
}

int rerun(Flags& flags, const Terminal& terminal) {
  jobs::RerunJob job;
  flags.read(job);
  flags.refuse_unknown();
  flags.refuse_words();
  jobs::run(job, terminal.context());
  return 0;
}

int run(Flags& flags, const Terminal& terminal) {
  // Another job with a few of the same flags: whatever else is given is refused there.
  if (flags.has("rerun")) return rerun(flags, terminal);
  Own own;
  flags.read(own);
  if (own.list_schedulers) {
    flags.refuse_unknown();
    fmt::print("{}", diffusion::scheduler_list());
    return 0;
  }
  // --from and --fast decide what is below the options that are given (jobs::sample_job).
  const auto [given, origin] = given_options(flags, own.config, schema_of<jobs::SampleJob>());
  const auto job = jobs::sample_job(given, origin);
  flags.refuse_words();
  const auto context = terminal.context(own.config);
  if (own.dry_run) {
    terminal.tell_estimate(jobs::estimate(job, context));
  } else {
    jobs::run(job, context);
  }
  return 0;
}

}  // namespace

const Command kSample = {.name = "sample",
                         .summary = "paint pictures, also with a prompt for each region",
                         .options = options_of<Own, jobs::SampleJob, jobs::RerunJob>,
                         .help = help,
                         .run = run};

}  // namespace mos::app
