#include <fmt/core.h>
#include <fmt/ranges.h>

#include "command.h"
#include "job_flags.h"
#include "mos/base/describe.h"
#include "mos/base/text.h"
#include "mos/jobs/fuse.h"

namespace mos::app {
namespace {

Schema options_of_method(const fuse::MethodInfo& info) {
  SchemaWriter writer;
  FieldVisitorOf own(writer);
  info.make()->describe(own);
  return writer.take();
}

/// With all options of all methods: which of them are taken depends on --method.
Schema fields_of_job() {
  auto fields = options_of<jobs::FuseJob, fuse::RecordOptions>();
  for (const auto& info : fuse::methods()) add_fields(fields, options_of_method(info));
  return fields;
}

Schema options_of_fuse() {
  auto fields = fields_of_job();
  add_fields(fields, flags_only(schema_of<JobFlags>()));
  return fields;
}

/// Those of the job that no method brings.
Schema job_options() {
  auto fields = without(schema_of<jobs::FuseJob>(), "concepts");
  for (const auto& field : schema_of<fuse::FuseOptions>()) {
    if (field.name != "method") fields = without(std::move(fields), field.name);
  }
  return fields;
}

std::string help_of_fuse() {
  std::string text =
      "usage: mos fuse CONCEPT[=WORDS]... [--base DIR] [--out DIR] [--lora FILE] [options]\n\n"
      "Fuses concepts into one model: files of mos tune, the authors' .pth, LoRA of kohya, PEFT "
      "and\n"
      "diffusers, and Textual Inversion embeddings. WORDS is how a concept stands in a prompt: "
      "the\n"
      "trigger words of a LoRA that has none of its own, as in \"dog.safetensors=sks dog\".\n\n";
  text += option_help(job_options()) + flag_help<JobFlags>();
  text += fmt::format(
      "  --{:<22} numbers, one for each concept: shares (weight), factors on the\n"
      "    {:<22} updates, or how much their inputs count [all alike]\n"
      "\nmethods, each with its own options:\n",
      "weights", "");
  std::vector<std::string> recording;
  for (const auto& info : fuse::methods()) {
    text += fmt::format("  {:<24} {}\n", info.name, info.help);
    text += replaced(option_help(options_of_method(info)), "  --", "      --");
    if (info.make()->needs().inputs != fuse::Recorded::kNothing) recording.emplace_back(info.name);
  }
  return text + fmt::format("\nhow inputs are recorded, for {}:\n", fmt::join(recording, ", ")) +
         flag_help<fuse::RecordOptions>();
}

jobs::FuseJob job_of(Flags& flags, const std::string& config) {
  const auto fields = without(fields_of_job(), "concepts");
  auto [given, origin] = given_options(flags, config, fields);
  if (!given.is_object()) return jobs::fuse_job(given, origin);  // throws
  const auto method = jobs::method_of(given, origin);
  // The job would refuse them too, but in the words of a file.
  const auto of_flags = flags.values(fields);
  for (const auto& [name, value] : of_flags.items()) {
    jobs::refuse_option_of_others(name, "--" + flag_name(name), method);
  }
  if (!flags.words().empty()) given["concepts"] = flags.words();
  return jobs::fuse_job(given, origin);
}

int run_fuse(Flags& flags, const Terminal& terminal) {
  JobFlags own;
  flags.read(own);
  const auto job = job_of(flags, own.config);
  return run_job(job, own, terminal);
}

}  // namespace

const Command kFuse = {.name = "fuse",
                       .summary = "put several concepts into one model",
                       .options = options_of_fuse,
                       .help = help_of_fuse,
                       .run = run_fuse,
                       .words = "concepts"};

}  // namespace mos::app
