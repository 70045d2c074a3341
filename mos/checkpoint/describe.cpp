#include "mos/checkpoint/describe.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>

#include "mos/base/error.h"
#include "mos/base/folder.h"
#include "mos/base/naming.h"
#include "mos/checkpoint/family.h"
#include "mos/checkpoint/parts.h"
#include "mos/io/safetensors_header.h"
#include "mos/nn/unet_config.h"

namespace mos::checkpoint {
namespace {

namespace fs = std::filesystem;

std::string text_of_dtype(torch::ScalarType dtype) {
  const auto name = io::dtype_name(dtype);
  return name ? std::string(*name) : torch::toString(dtype);
}

}  // namespace

Json describe_tensors(const io::TensorFile& file) {
  std::map<std::string, std::size_t> dtypes;
  std::int64_t parameters = 0;
  for (const auto& [key, tensor] : file.tensors) {
    ++dtypes[text_of_dtype(tensor.scalar_type())];
    parameters += tensor.numel();
  }
  Json json = {{"tensors", file.tensors.size()}, {"parameters", parameters}};
  if (!file.path.empty()) {  // a part of a folder may have several files
    json["format"] = file.format;
    json["bytes"] = fs::file_size(file.path);
  }
  for (const auto& [name, count] : dtypes) json["number types"][name] = count;
  if (!file.metadata.empty()) json["metadata"] = file.metadata;
  return json;
}

namespace {

/// What a base model and its adapters have to agree on.
Json companions_of(const Checkpoint& stored) {
  const auto unet = nn::UNetConfig::from_json(stored.networks.at(Part::kUNet).config);
  const auto width = unet.cross_attention_dim;
  return {
      {"LoRA, embeddings, concepts", fmt::format("for text of width {}", width)},
      {"ControlNets", fmt::format("for text of width {}", width)},
      {"T2I-Adapters", fmt::format("of {} channels", fmt::join(unet.block_out_channels, ", "))}};
}

/// What follows from a whole model, or why it cannot be a base model.
Json describe_use(const Identity& identity, const fs::path& path) {
  try {
    require_buildable(identity, path.string());
    const auto stored = read_checkpoint(path);
    return {{"prediction", prediction_type_of(stored.scheduler_config)},
            {"takes", companions_of(stored)}};
  } catch (const Error& error) {
    return {{"problem", error.what()}};
  }
}

}  // namespace

std::optional<Json> describe_model(const io::TensorFile& file) {
  const auto identity = identify(file.tensors);
  if (!identity) return std::nullopt;
  Json json = {{"kind", name_of(identity->content)},
               {"family", name_of(identity->family)},
               {"names", identity->naming == Naming::kLdm ? "original (ldm)" : "diffusers"}};
  if (!identity->variety.empty()) json["variety"] = identity->variety;
  if (identity->content == Content::kModel) json.update(describe_use(*identity, file.path));
  return json;
}

FileKind model_file_kind() {
  return {"a model in one file", [](const fs::path& path) {
            return describe_model(io::read_tensor_file(path)).has_value();
          }};
}

Json describe_model_folder(const fs::path& directory) {
  const auto stored = read_checkpoint(directory);
  Json json = {{"kind", "model folder"}, {"names", "diffusers"}};
  if (const auto identity = identify(stored.networks.at(Part::kUNet).tensors)) {
    json["family"] = name_of(identity->family);
    if (!identity->variety.empty()) json["variety"] = identity->variety;
  }
  json["prediction"] = prediction_type_of(stored.scheduler_config);
  json["takes"] = naming((directory / "unet/config.json").string(),
                         [&stored] { return companions_of(stored); });
  for (const auto part : {Part::kTextEncoder, Part::kVae, Part::kUNet}) {  // as they are listed
    json[std::string(folder_of(part))] =
        describe_tensors({.tensors = stored.networks.at(part).tensors});
  }
  if (stored.concepts.is_object()) {
    json["words"] = Json::array();
    for (const auto& [word, tokens] : stored.concepts.items()) json["words"].push_back(word);
  }
  return json;
}

bool is_model_folder(const fs::path& directory) { return fs::exists(directory / kIndexFile); }

fs::path weights_in(const fs::path& directory) {
  auto entries = entries_of(directory);
  // The plain name before those of variants ("model.safetensors", "model.fp16.safetensors").
  std::stable_sort(entries.begin(), entries.end(), [](const fs::path& a, const fs::path& b) {
    return a.native().size() < b.native().size();
  });
  for (const char* ending : {".safetensors", ".bin"}) {
    for (const auto& path : entries) {
      if (path.extension() == ending) return path;
    }
  }
  throw Error(ErrorKind::kFormat,
              fmt::format("cannot inspect {}: it has neither model_index.json nor weights",
                          directory.string()));
}

}  // namespace mos::checkpoint
