#include <fmt/core.h>

#include <array>
#include <filesystem>
#include <optional>

#include "command.h"
#include "flags.h"
#include "mos/base/json.h"
#include "mos/checkpoint/describe.h"
#include "mos/concepts/describe.h"
#include "mos/io/tensor_file.h"
#include "picture_record.h"

namespace mos::app {
namespace {

namespace fs = std::filesystem;

constexpr const char* kUsage =
    "usage: mos inspect FILE|FOLDER... [--json]\n"
    "\n"
    "Says what each file is, without loading it: kind, family, precision, metadata, and what it\n"
    "would go onto. Models, parts of models, LoRAs, embeddings and concepts are known, in\n"
    "safetensors and in files of torch.save, of which nothing is ever run.\n"
    "\n"
    "  --json                   one JSON object for each file\n";

/// What a file is, or nothing when it is of a kind that others know.
using Recogniser = std::optional<Json> (*)(const io::TensorFile&);

constexpr std::array kRecognisers = {
    Recogniser{checkpoint::describe_model},
    Recogniser{concepts::describe_concept},
};

Json inspect(const fs::path& path) {
  Json report = {{"file", path.string()}};
  if (fs::is_directory(path)) {
    report.update(checkpoint::describe_folder(path));
    return report;
  }
  const auto file = io::read_tensor_file(path);
  std::optional<Json> description;
  for (const auto recognise : kRecognisers) {
    if (!description) description = recognise(file);
  }
  report.update(description ? *description : Json{{"kind", "unknown"}});
  report.update(checkpoint::describe_tensors(file));
  report["sha256"] = file_hash(path);
  return report;
}

/// Trainers keep whole lists of captions in the metadata; --json has them in full.
std::string shortened(const std::string& text) {
  constexpr std::size_t kShown = 160;
  if (text.size() <= kShown) return text;
  auto end = kShown;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;  // UTF-8
  return fmt::format("{}... ({} bytes)", text.substr(0, end), text.size());
}

/// One line for each entry; those of nested objects are set in.
void print_lines(const Json& report, const std::string& margin) {
  for (const auto& [key, value] : report.items()) {
    if (value.is_object()) {
      fmt::print("{}{}:\n", margin, key);
      print_lines(value, margin + "  ");
    } else {
      fmt::print("{}{}: {}\n", margin, key,
                 shortened(value.is_string() ? value.get<std::string>() : value.dump()));
    }
  }
}

}  // namespace

int run_inspect(int argc, char** argv) {
  Flags flags(argc, argv);
  if (flags.take("help")) {
    fmt::print("{}", kUsage);
    return 0;
  }
  const bool as_json = flags.take_switch("json");
  flags.refuse_unknown();
  if (flags.words().empty()) {
    throw Error(ErrorKind::kUsage, "mos inspect needs a file or a folder; see mos inspect --help");
  }
  for (const auto& word : flags.words()) {
    const auto report = inspect(word);
    if (as_json) {
      fmt::print("{}\n", report.dump(2));
    } else {
      print_lines(report, "");
    }
  }
  return 0;
}

}  // namespace mos::app
