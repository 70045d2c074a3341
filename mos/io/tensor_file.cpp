#include "mos/io/tensor_file.h"

#include <fmt/format.h>

#include <array>
#include <string_view>

#include "mos/base/error.h"
#include "mos/io/mapped_file.h"
#include "mos/io/safetensors.h"
#include "mos/io/torch_file.h"

namespace mos::io {
namespace {

namespace fs = std::filesystem;

/// Levels of trainers around the tensors of the model (PyTorch Lightning).
constexpr std::string_view kModelLevel = "state_dict";

/// How the texts begin that Git LFS has in place of files.
constexpr std::string_view kPointer = "version https://";

constexpr std::size_t kSniffedBytes = 16;
constexpr std::array kTorchEndings = {".ckpt", ".pt", ".pth", ".bin"};

std::string first_bytes(const fs::path& path) {
  const MappedFile file(path);
  return std::string(file.text().substr(0, kSniffedBytes));
}

/// A safetensors file starts with the length of a JSON object.
bool looks_like_safetensors(const std::string& bytes) {
  constexpr std::size_t kBeforeJson = 8;
  return bytes.size() > kBeforeJson && bytes[kBeforeJson] == '{';
}

bool looks_like_torch_save(const std::string& bytes) {
  return bytes.starts_with("PK\x03\x04") || bytes.starts_with("\x80");
}

/// A number or a text as a text; empty for everything else.
std::string plain_text(const TorchValue& value) {
  if (const auto* number = std::get_if<std::int64_t>(&value.value)) {
    return fmt::format("{}", *number);
  }
  if (const auto* number = std::get_if<double>(&value.value)) return fmt::format("{}", *number);
  if (const auto* text = std::get_if<std::string>(&value.value)) return *text;
  return "";
}

/// All tensors of what a file holds.
StateDict tensors_of(const TorchValue& value, const fs::path& path) {
  const auto* model = value.find(kModelLevel);
  try {
    return flatten_tensors(model == nullptr ? value : *model);
  } catch (const Error& error) {
    throw Error(error.kind(), fmt::format("cannot read {}: {}", path.string(), error.what()));
  }
}

TensorFile read_torch_save(const fs::path& path) {
  const auto value = read_torch_file(path);
  TensorFile file{
      .path = path, .format = "torch.save", .tensors = tensors_of(value, path), .metadata = {}};
  const auto* top = std::get_if<TorchValue::Dict>(&value.value);
  if (top == nullptr) return file;
  for (const auto& [name, item] : *top) {
    auto text = plain_text(item);
    if (!text.empty()) file.metadata[name] = std::move(text);
  }
  return file;
}

TensorFile read_safetensors(const fs::path& path) {
  const SafetensorsFile opened(path);
  TensorFile file{
      .path = path, .format = "safetensors", .tensors = {}, .metadata = opened.metadata()};
  for (const auto& info : opened.tensors()) file.tensors[info.name] = opened.get(info.name);
  return file;
}

}  // namespace

TensorFile read_tensor_file(const fs::path& path) {
  if (fs::is_directory(path)) {
    throw Error(ErrorKind::kIo,
                fmt::format("cannot read {}: it is a folder, expected a file", path.string()));
  }
  const auto bytes = first_bytes(path);
  if (looks_like_safetensors(bytes)) return read_safetensors(path);
  if (looks_like_torch_save(bytes)) return read_torch_save(path);
  if (bytes.starts_with(kPointer)) return read_safetensors(path);  // which says what that is
  // What is damaged is reported in the words of the format that its name promises.
  const auto ending = path.extension();
  if (ending == ".safetensors") return read_safetensors(path);
  for (const auto* known : kTorchEndings) {
    if (ending == known) return read_torch_save(path);
  }
  throw Error(ErrorKind::kFormat,
              fmt::format("cannot read {}: it is neither safetensors nor a file of torch.save",
                          path.string()));
}

}  // namespace mos::io
