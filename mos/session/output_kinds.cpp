#include "mos/session/output_kinds.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "mos/base/error.h"
#include "mos/base/json.h"
#include "mos/base/record.h"
#include "mos/base/text.h"
#include "mos/base/text_distance.h"
#include "mos/checkpoint/checkpoint.h"
#include "mos/checkpoint/describe.h"
#include "mos/concepts/describe.h"
#include "mos/io/mapped_file.h"
#include "mos/io/tensor_file.h"
#include "mos/session/picture_record.h"

namespace mos::session {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kPngSignature = "\x89PNG\r\n\x1a\n";

/// Looks for the name of the record's text, without decoding the picture.
bool is_our_picture(const fs::path& path) {
  const io::MappedFile file(path);
  const auto keyword = std::string(kRecordKeyword) + '\0';
  return file.text().starts_with(kPngSignature) &&
         (file.text().find("tEXt" + keyword) != std::string_view::npos ||
          file.text().find("iTXt" + keyword) != std::string_view::npos);
}

bool is_concept_file(const fs::path& path) {
  const auto file = io::read_tensor_file(path);
  return !checkpoint::describe_model(file) && concepts::describe_concept(file).has_value();
}

/// What a picture's record has, and no report.
bool has_scene(const fs::path& record) { return read_json_file(record).contains("scene"); }

/// Throws where a folder would get the name of a file.
void refuse_ending(const std::string& name, const fs::path& path) {
  constexpr auto kOfFiles = std::to_array<std::string_view>(
      {".ckpt", ".pt", ".pth", ".bin", ".sft", ".gguf", ".onnx", ".png", ".json", ".txt", ".zip"});
  const auto ending = path.extension().string();
  const auto lower = lower_ascii(ending);
  const bool is_mistyped = !nearest(lower, {".safetensors"}).empty();
  if (!is_mistyped && std::ranges::find(kOfFiles, lower) == kOfFiles.end()) return;
  throw Error(ErrorKind::kUsage,
              fmt::format("{} is {}: a model is written as a folder or as one file that ends in "
                          ".safetensors, not as {}",
                          name, path.string(), ending));
}

}  // namespace

FileKind picture_kind() { return {"a picture that mos made", is_our_picture}; }
FileKind record_kind() {
  return {"a record of a picture by mos",
          [](const fs::path& path) { return is_own_record(path) && has_scene(path); }};
}
FileKind report_kind() {
  return {"a report of mos",
          [](const fs::path& path) { return is_own_record(path) && !has_scene(path); }};
}
FileKind concept_kind() { return {"a concept, a LoRA or an embedding", is_concept_file}; }

void write_model(Outputs& outputs, const std::string& name, const fs::path& path,
                 Existing existing) {
  if (checkpoint::is_single_file(path)) {
    outputs.write(FileOutput{
        .name = name, .path = path, .kind = checkpoint::model_file_kind(), .existing = existing});
    return;
  }
  refuse_ending(name, path);
  outputs.write(FolderOutput{
      .name = name, .path = path, .existing = existing, .may_replace = [](const fs::path& folder) {
        checkpoint::check_model_folder(folder);
      }});
}

}  // namespace mos::session
