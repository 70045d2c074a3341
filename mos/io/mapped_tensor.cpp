#include "mos/io/mapped_tensor.h"

#include <cstring>
#include <mutex>
#include <utility>

namespace mos::io {
namespace {

/// What the storage of a mapped tensor owns.
struct Mapped {
  std::shared_ptr<const MappedFile> file;
  MappedBytes stored;
  std::once_flag checked;
};

std::byte* place_of(std::string_view bytes, const MappedFile& file) {
  return file.data() + (bytes.data() - file.text().data());
}

/// Of a storage; its address tells mapped tensors from others.
void let_go(void* context) {
  const std::unique_ptr<Mapped> mapped(static_cast<Mapped*>(context));
  const auto bytes = mapped->stored.bytes;
  mapped->file->release(place_of(bytes, *mapped->file), bytes.size());
}

}  // namespace

torch::Tensor mapped_tensor(const std::shared_ptr<const MappedFile>& file, MappedBytes stored,
                            at::IntArrayRef shape, torch::ScalarType dtype) {
  const auto options = torch::TensorOptions().dtype(dtype);
  const auto bytes = stored.bytes;
  if (bytes.empty()) return torch::empty(shape, options);
  auto* data = place_of(bytes, *file);
  if (reinterpret_cast<std::uintptr_t>(data) % c10::elementSize(dtype) == 0) {
    auto mapped = std::make_unique<Mapped>();
    mapped->file = file;
    mapped->stored = std::move(stored);
    return at::for_blob(data, shape)
        .context(mapped.release(), let_go)
        .options(options)
        .make_tensor();
  }
  if (stored.check) stored.check();
  auto copy = torch::empty(shape, options);
  std::memcpy(copy.data_ptr(), bytes.data(), bytes.size());
  file->release(data, bytes.size());
  return copy;
}

void check_stored(const torch::Tensor& tensor) {
  if (!tensor.has_storage()) return;
  auto* mapped = tensor.storage().data_ptr().cast_context<Mapped>(let_go);
  if (mapped == nullptr || !mapped->stored.check) return;
  std::call_once(mapped->checked, mapped->stored.check);
}

}  // namespace mos::io
