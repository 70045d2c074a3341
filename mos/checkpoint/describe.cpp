#include "mos/checkpoint/describe.h"

#include <fmt/format.h>

#include <map>

#include "mos/base/error.h"
#include "mos/checkpoint/checkpoint.h"
#include "mos/checkpoint/family.h"
#include "mos/checkpoint/parts.h"
#include "mos/io/safetensors_header.h"

namespace mos::checkpoint {
namespace {

namespace fs = std::filesystem;

std::string text_of_dtype(torch::ScalarType dtype) {
  const auto name = io::dtype_name(dtype);
  return name ? std::string(*name) : torch::toString(dtype);
}

/// Counts of tensors and parameters, and of tensors of each number type.
Json describe_dict(const io::StateDict& tensors) {
  std::map<std::string, std::size_t> dtypes;
  std::int64_t parameters = 0;
  for (const auto& [key, tensor] : tensors) {
    ++dtypes[text_of_dtype(tensor.scalar_type())];
    parameters += tensor.numel();
  }
  Json json = {{"tensors", tensors.size()}, {"parameters", parameters}};
  for (const auto& [name, count] : dtypes) json["number types"][name] = count;
  return json;
}

/// The words of new_concept_cfg.json.
Json words_of(const Json& concepts) {
  Json words = Json::array();
  for (const auto& [word, tokens] : concepts.items()) words.push_back(word);
  return words;
}

}  // namespace

Json describe_tensors(const io::TensorFile& file) {
  Json json = {{"format", file.format}, {"bytes", fs::file_size(file.path)}};
  json.update(describe_dict(file.tensors));
  if (!file.metadata.empty()) json["metadata"] = file.metadata;
  return json;
}

std::optional<Json> describe_model(const io::TensorFile& file) {
  const auto identity = identify(file.tensors);
  if (!identity) return std::nullopt;
  Json json = {{"kind", name_of(identity->part)},
               {"family", name_of(identity->family)},
               {"names", identity->naming == Naming::kLdm ? "original (ldm)" : "diffusers"}};
  if (!identity->variety.empty()) json["variety"] = identity->variety;
  return json;
}

Json describe_folder(const fs::path& directory) {
  if (!fs::exists(directory / kIndexFile)) {
    throw Error(ErrorKind::kFormat,
                fmt::format("cannot inspect the folder {}: it has no {}, so it is no diffusers "
                            "directory; name a file in it",
                            directory.string(), kIndexFile));
  }
  const auto stored = read_folder(directory, {});
  const auto identity = identify(stored.unet.tensors);
  Json json = {
      {"kind", "model folder"},
      {"family", name_of(identity ? identity->family : Family::kOther)},
      {"scheduler", json_value<std::string>(stored.scheduler_config, "_class_name", "")},
      {"predicts", json_value<std::string>(stored.scheduler_config, "prediction_type", "epsilon")}};
  if (identity && !identity->variety.empty()) json["variety"] = identity->variety;
  if (!stored.concepts.is_null()) json["words"] = words_of(stored.concepts);
  for (const auto& part : kNetworks) {
    json[part.folder] = describe_dict((stored.*part.stored).tensors);
  }
  return json;
}

}  // namespace mos::checkpoint
