#pragma once

#include <torch/types.h>

#include <memory>
#include <string_view>

#include "mos/io/mapped_file.h"

namespace mos::io {

/// The bytes of `file` as a tensor that aliases its pages and keeps the file mapped. The pages go
/// back to the system with the last reference to the tensor. Bytes that no element of this dtype
/// could start at are copied. `bytes` must lie in the file and be as many as shape and dtype say.
torch::Tensor mapped_tensor(const std::shared_ptr<const MappedFile>& file, std::string_view bytes,
                            at::IntArrayRef shape, torch::ScalarType dtype);

}  // namespace mos::io
