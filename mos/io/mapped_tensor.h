#pragma once

#include <torch/types.h>

#include <cstddef>
#include <memory>
#include <string_view>

#include "mos/io/mapped_file.h"

namespace mos::io {

/// A tensor of a file has at most this many dimensions: c10's own limit for most operations.
constexpr std::size_t kMaxDimensions = 64;

/// The bytes of `file` as a tensor that aliases its pages and keeps the file mapped. The pages go
/// back to the system with the last reference to the tensor. Bytes that no element of this dtype
/// could start at are copied. `bytes` must lie in the file and be as many as shape and dtype say.
torch::Tensor mapped_tensor(const std::shared_ptr<const MappedFile>& file, std::string_view bytes,
                            at::IntArrayRef shape, torch::ScalarType dtype);

}  // namespace mos::io
