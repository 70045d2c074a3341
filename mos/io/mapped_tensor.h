#pragma once

#include <torch/types.h>

#include <cstddef>
#include <functional>
#include <memory>
#include <string_view>

#include "mos/io/mapped_file.h"

namespace mos::io {

/// A tensor of a file has at most this many dimensions: c10's own limit for most operations.
constexpr std::size_t kMaxDimensions = 64;

/// Bytes of a file, and what says whether they are as they were written.
struct MappedBytes {
  std::string_view bytes;
  std::function<void()> check;  ///< Throws mos::Error(kFormat) where not; empty: nothing tells.
};

/// The bytes of `file` as a tensor that aliases its pages and keeps the file mapped. The pages go
/// back to the system with the last reference to the tensor. Bytes that no element of this dtype
/// could start at are checked and copied. The bytes must lie in the file and be as many as shape
/// and dtype say.
torch::Tensor mapped_tensor(const std::shared_ptr<const MappedFile>& file, MappedBytes stored,
                            at::IntArrayRef shape, torch::ScalarType dtype);

/// Before the values of `tensor` are used: if it is a mapped tensor or a view of one, its bytes are
/// checked, once for all its views. Throws what their check does.
void check_stored(const torch::Tensor& tensor);

}  // namespace mos::io
