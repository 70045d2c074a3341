#include "mos/fuse/update.h"

#include <algorithm>

namespace mos::fuse {

std::int64_t Update::rank() const {
  if (is_low_rank()) return up.size(1);
  return empty() ? 0 : std::min(dense.size(0), dense.size(1));
}

torch::Tensor Update::matrix() const { return is_low_rank() ? torch::matmul(up, down) : dense; }

Update Update::factored() const {
  if (!dense.defined()) return *this;
  const auto outputs = dense.size(0), inputs = dense.size(1);
  if (outputs <= inputs) return {.up = torch::eye(outputs, dense.options()), .down = dense};
  return {.up = dense, .down = torch::eye(inputs, dense.options())};
}

}  // namespace mos::fuse
