#include <fmt/core.h>

#include <algorithm>
#include <string>

#include "command.h"
#include "mos/base/describe.h"
#include "mos/base/error.h"
#include "mos/jobs/convert_concept.h"
#include "mos/jobs/convert_model.h"

namespace mos::app {
namespace {

/// Those of one kind of conversion, without what both have.
template <class Job>
Schema own_options() {
  return without(without(schema_of<Job>(), "in"), "out");
}

Schema shared_options() {
  auto fields = schema_of<jobs::ConvertModelJob>();
  std::erase_if(fields, [](const FieldInfo& field) { return field.name != "out"; });
  return fields;
}

std::string help_of_convert() {
  return "usage: mos convert FILE|FOLDER --out FILE|FOLDER [options]\n"
         "\n"
         "Writes a model, a concept, a LoRA or an embedding in another layout. A model becomes a "
         "diffusers\n"
         "directory, or one .safetensors with the original names, without the memory of the whole "
         "model.\n"
         "\n" +
         option_help(shared_options()) + "For models:\n" +
         option_help(own_options<jobs::ConvertModelJob>()) + "Of concepts, LoRA and embeddings:\n" +
         option_help(own_options<jobs::ConvertConceptJob>());
}

/// What the file is for decides; options that `Other` alone has are refused.
template <class Job, class Other>
void convert(Flags& flags, const char* kind, const Terminal& terminal) {
  const auto own = schema_of<Job>();
  for (const auto& field : schema_of<Other>()) {
    const bool is_known = std::ranges::find(own, field.name, &FieldInfo::name) != own.end();
    if (is_known || !flags.has(flag_name(field.name))) continue;
    throw Error(ErrorKind::kUsage, fmt::format("--{} does not apply: {} is {}; leave it out",
                                               flag_name(field.name), flags.words().front(), kind));
  }
  Job job;
  flags.read(job, "in");
  flags.refuse_unknown();
  jobs::run(job, terminal.context());
}

int run_convert(Flags& flags, const Terminal& terminal) {
  if (flags.words().size() != 1) {
    throw Error(ErrorKind::kUsage, "mos convert needs one file or folder; see mos convert --help");
  }
  if (!flags.has("out")) {  // before the file is read
    throw Error(ErrorKind::kUsage, "mos convert needs --out FOLDER or --out FILE.safetensors");
  }
  if (jobs::is_model(flags.words().front())) {
    convert<jobs::ConvertModelJob, jobs::ConvertConceptJob>(flags, "a model", terminal);
  } else {
    convert<jobs::ConvertConceptJob, jobs::ConvertModelJob>(
        flags, "a concept, a LoRA or an embedding", terminal);
  }
  return 0;
}

}  // namespace

const Command kConvert = {.name = "convert",
                          .summary = "write a model or a LoRA in another layout",
                          .options = options_of<jobs::ConvertModelJob, jobs::ConvertConceptJob>,
                          .help = help_of_convert,
                          .run = run_convert,
                          .words = "in"};

}  // namespace mos::app
