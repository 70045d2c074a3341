#include "mos/io/safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "mos/base/error.h"
#include "mos/base/file.h"
#include "mos/base/text.h"
#include "mos/io/mapped_file.h"
#include "mos/io/mapped_tensor.h"
#include "mos/io/narrowing.h"
#include "mos/io/safetensors_header.h"

namespace mos::io {

static_assert(std::endian::native == std::endian::little, "safetensors data is little-endian");

namespace {

constexpr std::size_t kLengthBytes = sizeof(std::uint64_t);

/// What a file is whose length of a header is impossible: most that are none begin with text.
std::string not_safetensors(std::string_view bytes, std::uint64_t length) {
  if (bytes.starts_with("version https://git-lfs")) {
    return "it is only Git LFS's pointer to the file; fetch the file itself, with git lfs pull";
  }
  constexpr std::size_t kShown = 16;
  const auto beginning = bytes.substr(0, kShown);
  const auto is_letter = [](char c) { return (c >= ' ' && c <= '~') || c == '\n' || c == '\r'; };
  if (std::all_of(beginning.begin(), beginning.end(), is_letter)) {
    return fmt::format(
        "it is a text that begins with \"{}\", no file of tensors; fetch it again, "
        "perhaps a page of a website came instead",
        printable(beginning));
  }
  return fmt::format(
      "its header claims {} bytes, more than the {} allowed; it is probably not a "
      "safetensors file",
      length, kMaxHeaderBytes);
}

/// The header of a file, without its length. Throws kFormat.
std::string_view header_text(const MappedFile& file, const std::string& origin) {
  const auto fail = [&origin](const std::string& reason) {
    throw Error(ErrorKind::kFormat, fmt::format("cannot read {}: {}", origin, reason));
  };
  if (file.size() == 0) fail("it is empty");
  if (file.size() < kLengthBytes) {
    fail(fmt::format("it has only {} bytes, too few for a safetensors file", file.size()));
  }
  std::uint64_t length = 0;
  std::memcpy(&length, file.data(), kLengthBytes);
  if (length > kMaxHeaderBytes) fail(not_safetensors(file.text(), length));
  if (length > file.size() - kLengthBytes) {
    fail(
        fmt::format("its header claims {} bytes but only {} follow; the file may be incomplete: "
                    "fetch it again",
                    length, file.size() - kLengthBytes));
  }
  // A view of the mapped pages: a header may have megabytes, and is read once.
  return file.text().substr(kLengthBytes, length);
}

}  // namespace

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path)
    : path_(path), file_(std::make_shared<MappedFile>(path)) {
  const auto json = header_text(*file_, path.string());
  data_start_ = kLengthBytes + json.size();
  auto header = parse_safetensors_header(json, file_->size() - data_start_, path.string());
  tensors_ = std::move(header.tensors);
  metadata_ = std::move(header.metadata);
  for (std::size_t i = 0; i < tensors_.size(); ++i) index_[tensors_[i].name] = i;
}

bool SafetensorsFile::contains(std::string_view name) const { return index_.contains(name); }

torch::Tensor SafetensorsFile::get(const std::string& name) const {
  const auto found = index_.find(name);
  if (found == index_.end()) {
    throw Error(ErrorKind::kMismatch, fmt::format("{} has no tensor \"{}\"", path_.string(), name));
  }
  const auto& info = tensors_[found->second];
  const auto bytes = file_->text().substr(data_start_ + info.begin, info.end - info.begin);
  return mapped_tensor(file_, {bytes, {}}, info.shape, info.dtype);
}

StateDict load_safetensors(const std::filesystem::path& path) {
  const SafetensorsFile file(path);
  StateDict dict;
  for (const auto& info : file.tensors()) dict.emplace(info.name, file.get(info.name));
  return dict;
}

void save_safetensors(const std::filesystem::path& path, const StateDict& dict,
                      const std::map<std::string, std::string>& metadata, const FileRules& rules) {
  LazyDict lazy;
  for (const auto& [name, tensor] : dict) lazy[name] = lazy_tensor(tensor);
  write_safetensors(path, std::move(lazy), metadata, {.file = rules});
}

LazyTensor lazy_tensor(torch::Tensor tensor) {
  const auto dtype = tensor.scalar_type();
  auto shape = tensor.sizes().vec();
  return {dtype, std::move(shape), [tensor = std::move(tensor)] { return tensor; }};
}

void write_safetensors(const std::filesystem::path& path, LazyDict tensors,
                       const std::map<std::string, std::string>& metadata,
                       const WriteRules& rules) {
  std::vector<LazyDict::iterator> ordered;
  for (auto entry = tensors.begin(); entry != tensors.end(); ++entry) ordered.push_back(entry);
  // Every tensor then begins at a multiple of its element's size, without padding, which the format
  // does not have.
  std::stable_sort(ordered.begin(), ordered.end(), [](const auto& a, const auto& b) {
    return c10::elementSize(a->second.dtype) > c10::elementSize(b->second.dtype);
  });

  SafetensorsHeader header{.tensors = {}, .metadata = metadata};
  std::uint64_t position = 0;
  for (const auto& entry : ordered) {
    const auto& [name, tensor] = *entry;
    const auto bytes = static_cast<std::uint64_t>(c10::multiply_integers(tensor.shape)) *
                       c10::elementSize(tensor.dtype);
    header.tensors.push_back({.name = name,
                              .dtype = tensor.dtype,
                              .shape = tensor.shape,
                              .begin = position,
                              .end = position + bytes});
    position += bytes;
  }
  // The header is complete before the first tensor is made: shapes and dtypes were promised.
  const auto json = format_safetensors_header(header);
  const auto length = static_cast<std::uint64_t>(json.size());

  Narrowing narrowing;
  AtomicFile file(path, rules.file);
  file.write(&length, sizeof(length));
  file.write(json);
  for (const auto& entry : ordered) {
    if (rules.cancel != nullptr) rules.cancel->check();
    const auto tensor = narrowing.cast(entry->first, entry->second.make(), entry->second.dtype)
                            .to(torch::kCPU)
                            .contiguous();
    // Another shape would shift all data behind it under the wrong names.
    TORCH_CHECK(tensor.sizes() == entry->second.shape, entry->first, " has another shape");
    file.write(tensor.data_ptr(), tensor.nbytes());
    entry->second.make = nullptr;  // what it was made of is not needed any more
  }
  file.commit();
  narrowing.warn(path.filename().string());
}

}  // namespace mos::io
