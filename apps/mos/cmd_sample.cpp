#include <fmt/core.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <system_error>

#include "command.h"
#include "job_flags.h"
#include "mos/base/describe.h"
#include "mos/base/log.h"
#include "mos/diffusion/scheduler.h"
#include "mos/jobs/sample.h"
#include "mos/jobs/scene.h"

namespace mos::app {
namespace {

/// What only a command line has.
struct SampleFlags {
  JobFlags job;
  bool list_schedulers = false;
};

template <class Visitor>
void describe(Visitor& visit, SampleFlags& own) {
  describe(visit, own.job);
  visit("list_schedulers", own.list_schedulers, "schedulers and sigmas with their names elsewhere");
}

Schema options_of_sample() {
  auto fields = flags_only(schema_of<SampleFlags>());
  add_fields(fields, schema_of<jobs::SampleJob>());
  add_fields(fields, flags_only(schema_of<jobs::RerunJob>()));
  return fields;
}

std::string help_of_sample() {
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
         flag_help<SampleFlags>() + flag_help<jobs::SampleJob>() +
         "\nThe same picture once more, from files that may have moved:\n" +
         flag_help<jobs::RerunJob>();
}

/// Throws kUsage for options of mos sample that are none of `taken`, those of `part`.
void refuse_others(const Flags& flags, const Schema& taken, const std::string& part,
                   const std::string& advice) {
  for (const auto& field : options_of<SampleFlags, jobs::SampleJob>()) {
    const auto is_same = [&](const FieldInfo& other) { return other.name == field.name; };
    const auto name = flag_name(field.name);
    if (!flags.has(name) || std::ranges::any_of(taken, is_same)) continue;
    throw Error(ErrorKind::kUsage, fmt::format("{} takes no --{}{}", part, name, advice));
  }
}

/// Throws kUsage for a flag without anything in it, which would change nothing: a variable of the
/// shell that is not set, say.
void refuse_empty(Flags& flags) {
  for (const char* name : {"init", "mask", "redo_region", "fast", "subjects", "grow",
                           "adapter_weight", "adapter_start", "adapter_end", "adapter_boxes"}) {
    const auto text = flags.take(name);
    if (!text || text->find_first_not_of(" ,") != std::string::npos) continue;
    throw Error(ErrorKind::kUsage,
                fmt::format("--{} is empty: say something behind it, or leave it "
                            "out",
                            flag_name(name)));
  }
}

/// Throws kIo where the folder of LoRA that was named is none, and says so where `job` names no
/// file in it.
void check_lora_folder(const Flags& flags, const jobs::SampleJob& job) {
  if (!flags.has("lora-folder")) return;
  std::error_code ignored;
  if (!std::filesystem::is_directory(job.lora_folder, ignored)) {
    throw Error(ErrorKind::kIo,
                fmt::format("the folder {} of --lora-folder is not there", job.lora_folder));
  }
  if (jobs::names_loras(job)) return;
  log::warn("--lora-folder changes nothing: no prompt names a file in it as <lora:name>");
}

int rerun(Flags& flags, const Terminal& terminal) {
  jobs::RerunJob job;
  refuse_others(flags, schema_of(job), "--rerun",
                "; --from takes the options of a picture and changes those that are given");
  flags.read(job);
  flags.refuse_unknown();
  flags.refuse_words();
  jobs::run(job, terminal.context());
  return 0;
}

int run_sample(Flags& flags, const Terminal& terminal) {
  // Another job with a few of the same flags: whatever else is given is refused there.
  if (flags.has("rerun")) return rerun(flags, terminal);
  SampleFlags own;
  flags.read(own);
  if (own.list_schedulers) {
    refuse_others(flags, schema_of(own), "--list-schedulers", "");
    fmt::print("{}", diffusion::scheduler_list());
    return 0;
  }
  // --from and --fast decide what is below the options that are given (jobs::sample_job).
  refuse_empty(flags);
  const auto [given, origin] = given_options(flags, own.job.config, schema_of<jobs::SampleJob>());
  const auto job = jobs::sample_job(given, origin);
  flags.refuse_words();
  check_lora_folder(flags, job);
  return run_job(job, own.job, terminal);
}

}  // namespace

const Command kSample = {.name = "sample",
                         .summary = "paint pictures, also with a prompt for each region",
                         .options = options_of_sample,
                         .help = help_of_sample,
                         .run = run_sample};

}  // namespace mos::app
