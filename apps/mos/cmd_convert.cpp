#include <fmt/core.h>

#include <filesystem>

#include "command.h"
#include "convert_concept.h"
#include "convert_model.h"
#include "flags.h"
#include "mos/checkpoint/family.h"
#include "mos/io/tensor_file.h"

namespace mos::app {
namespace {

namespace fs = std::filesystem;

constexpr const char* kUsage =
    "usage: mos convert FILE|FOLDER --out FILE|FOLDER [options]\n"
    "\n"
    "Writes a model, a concept, a LoRA or an embedding in another layout. A model becomes a "
    "diffusers\n"
    "directory, or one .safetensors with the original names, without the memory of the whole "
    "model.\n"
    "\n";

bool is_model(const fs::path& path) {
  return fs::is_directory(path) || checkpoint::identify(io::read_tensor_file(path).tensors);
}

}  // namespace

int run_convert(int argc, char** argv) {
  Flags flags(argc, argv);
  if (flags.take_switch("help")) {
    fmt::print("{}{}{}", kUsage, convert_model_help(), kConvertConceptHelp);
    return 0;
  }
  if (flags.words().size() != 1) {
    throw Error(ErrorKind::kUsage, "mos convert needs one file or folder; see mos convert --help");
  }
  const auto out = flags.take("out");
  if (!out || out->empty()) {
    throw Error(ErrorKind::kUsage, "mos convert needs --out FOLDER or --out FILE.safetensors");
  }
  const fs::path in = flags.words().front();
  return is_model(in) ? convert_model(flags, in, *out) : convert_concept(flags, in, *out);
}

}  // namespace mos::app
