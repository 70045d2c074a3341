#include "mos/checkpoint/describe.h"

#include <fmt/format.h>

#include <map>

#include "mos/base/error.h"
#include "mos/checkpoint/family.h"
#include "mos/io/safetensors_header.h"

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
  Json json = {{"format", file.format},
               {"bytes", fs::file_size(file.path)},
               {"tensors", file.tensors.size()},
               {"parameters", parameters}};
  for (const auto& [name, count] : dtypes) json["number types"][name] = count;
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
  throw Error(ErrorKind::kFormat,
              fmt::format("cannot inspect {}: it is a folder", directory.string()));
}

}  // namespace mos::checkpoint
