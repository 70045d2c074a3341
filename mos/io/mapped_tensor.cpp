#include "mos/io/mapped_tensor.h"

#include <cstring>

namespace mos::io {

torch::Tensor mapped_tensor(const std::shared_ptr<const MappedFile>& file, std::string_view bytes,
                            at::IntArrayRef shape, torch::ScalarType dtype) {
  const auto options = torch::TensorOptions().dtype(dtype);
  if (bytes.empty()) return torch::empty(shape, options);
  auto* data = file->data() + (bytes.data() - file->text().data());
  if (reinterpret_cast<std::uintptr_t>(data) % c10::elementSize(dtype) == 0) {
    const auto count = bytes.size();
    return torch::from_blob(
        data, shape, [file, data, count](void*) { file->release(data, count); }, options);
  }
  auto copy = torch::empty(shape, options);
  std::memcpy(copy.data_ptr(), bytes.data(), bytes.size());
  file->release(data, bytes.size());
  return copy;
}

}  // namespace mos::io
