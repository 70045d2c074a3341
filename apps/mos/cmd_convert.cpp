#include <filesystem>

#include "command.h"
#include "convert_concept.h"
#include "convert_model.h"
#include "mos/checkpoint/family.h"
#include "mos/io/tensor_file.h"

namespace mos::app {
namespace {

namespace fs = std::filesystem;

/// What both kinds of conversion have.
struct Own {
  std::string out;
};

template <class Visitor>
void describe(Visitor& visit, Own& own) {
  visit("out", own.out, "the folder or file to write", a_path());
}

std::string help() {
  return "usage: mos convert FILE|FOLDER --out FILE|FOLDER [options]\n"
         "\n"
         "Writes a model, a concept, a LoRA or an embedding in another layout. A model becomes a "
         "diffusers\n"
         "directory, or one .safetensors with the original names, without the memory of the whole "
         "model.\n"
         "\n" +
         flag_help<Own>() + "For models:\n" + flag_help<ConvertModelOptions>() +
         "Of concepts, LoRA and embeddings:\n" + flag_help<ConvertConceptOptions>();
}

bool is_model(const fs::path& path) {
  return fs::is_directory(path) || checkpoint::identify(io::read_tensor_file(path).tensors);
}

/// The options of this kind; those of the other kind alone are refused.
template <class Options>
Options take(Flags& flags) {
  Options options;
  flags.read(options);
  flags.refuse_unknown();
  return options;
}

int run(Flags& flags, const Terminal&) {
  if (flags.words().size() != 1) {
    throw Error(ErrorKind::kUsage, "mos convert needs one file or folder; see mos convert --help");
  }
  Own own;
  flags.read(own);
  if (own.out.empty()) {
    throw Error(ErrorKind::kUsage, "mos convert needs --out FOLDER or --out FILE.safetensors");
  }
  const fs::path in = flags.words().front();
  if (is_model(in)) {
    convert_model(in, own.out, take<ConvertModelOptions>(flags));
  } else {
    convert_concept(in, own.out, take<ConvertConceptOptions>(flags));
  }
  return 0;
}

}  // namespace

const Command kConvert = {.name = "convert",
                          .summary = "write a model or a LoRA in another layout",
                          .options = options_of<Own, ConvertModelOptions, ConvertConceptOptions>,
                          .help = help,
                          .run = run};

}  // namespace mos::app
