// A program of its own that tunes a concept, fuses it into the base model, and paints with that:
//
//     example_jobs BASE PICTURES OUT
//
// BASE is a base model, PICTURES a folder as docs/pictures.md has it, OUT a folder that is there.
// All it links is mos_jobs. The options are those of `mos tune`, `mos fuse` and `mos sample`, set
// as fields of structs or read from JSON; `mos COMMAND --help json` lists them.

#include <cstdio>
#include <string>

#include "mos/base/error.h"
#include "mos/base/runtime.h"
#include "mos/base/schema.h"
#include "mos/jobs/fuse.h"
#include "mos/jobs/sample.h"
#include "mos/jobs/tune.h"

namespace {

using mos::Json;

/// Who listens: a studio would draw a bar and show the pictures.
mos::jobs::JobContext listener(const mos::CancelToken& cancel) {
  mos::jobs::JobContext context;
  context.progress = [](const mos::Progress& progress) {
    if (progress.step != progress.total) return;
    std::printf("%s: %lld steps\n", progress.stage.c_str(), static_cast<long long>(progress.step));
  };
  context.result = [](const std::string& line) { std::printf("result: %s\n", line.c_str()); };
  context.log = [](mos::log::Level, std::string_view message) {
    std::printf("log: %.*s\n", static_cast<int>(message.size()), message.data());
  };
  context.cancel = &cancel;  // cancel.cancel(), from any thread, ends the work at its next step
  return context;
}

void tune_fuse_paint(const std::string& base, const std::string& pictures, const std::string& out) {
  const mos::CancelToken cancel;
  const auto context = listener(cancel);

  // From JSON, as a form or a request would have it; what a form shows is in the schema.
  const Json given = {{"data", pictures},   {"out", out + "/own.safetensors"},
                      {"base", base},       {"size", 64},
                      {"steps", 3},         {"batch", 1},
                      {"dtype", "float32"}, {"preview_pictures", 0}};
  const auto tuning = mos::jobs::tune_job(given, "the request");
  mos::jobs::check(tuning);
  const auto tuned = mos::jobs::run(tuning, context);

  mos::jobs::FuseJob fusion;  // or field by field
  fusion.concepts = {tuning.out};
  fusion.base = base;
  fusion.out = out + "/model";
  fusion.options.record.steps = 2;
  fusion.options.record.size = 64;
  mos::jobs::run(fusion, context);

  mos::jobs::SampleJob painting;
  painting.base = fusion.out;
  painting.prompt = "a photo of a " + tuned.phrase();
  painting.out = out + "/picture.png";
  painting.dtype = "float32";
  painting.sample.steps = 2;
  painting.sample.height = painting.sample.width = 64;
  mos::jobs::run(painting, context);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: example_jobs BASE PICTURES OUT\n");
    return 2;
  }
  mos::set_up_runtime();
  try {
    tune_fuse_paint(argv[1], argv[2], argv[3]);
  } catch (const mos::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return mos::exit_code(error.kind());
  }
  return 0;
}
