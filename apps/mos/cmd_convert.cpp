#include <fmt/core.h>

#include <filesystem>

#include "command.h"
#include "convert_concept.h"
#include "flags.h"
#include "mos/checkpoint/family.h"
#include "mos/io/tensor_file.h"

namespace mos::app {
namespace {

namespace fs = std::filesystem;

constexpr const char* kUsage =
    "usage: mos convert MODEL --out FOLDER|FILE.safetensors [options]\n"
    "\n"
    "Writes a model in another layout or another precision: a diffusers directory, or one file "
    "with\n"
    "the original names. Neither needs the memory of the whole model.\n"
    "\n";

struct Job {
  fs::path in, out;
};

bool is_model(const fs::path& path) {
  return fs::is_directory(path) || checkpoint::identify(io::read_tensor_file(path).tensors);
}

int convert_model(Flags& flags, const Job& job) {
  flags.refuse_unknown();
  throw Error(ErrorKind::kUsage, fmt::format("cannot convert {} yet", job.in.string()));
}

}  // namespace

int run_convert(int argc, char** argv) {
  Flags flags(argc, argv);
  if (flags.take("help")) {
    fmt::print("{}{}", kUsage, kConvertConceptHelp);
    return 0;
  }
  if (flags.words().size() != 1) {
    throw Error(ErrorKind::kUsage, "mos convert needs one file or folder; see mos convert --help");
  }
  const auto out = flags.take("out");
  if (!out || out->empty()) {
    throw Error(ErrorKind::kUsage, "mos convert needs --out FOLDER or --out FILE.safetensors");
  }
  const Job job{.in = flags.words().front(), .out = *out};
  if (is_model(job.in)) return convert_model(flags, job);
  return convert_concept(flags, job.in, job.out);
}

}  // namespace mos::app
