#include "mos/io/finite.h"

#include <ATen/Parallel.h>
#include <fmt/core.h>

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "mos/base/error.h"
#include "mos/base/text.h"
#include "mos/io/mapped_tensor.h"

namespace mos::io {
namespace {

/// Elements that are looked at and copied in a row: few enough to stay in the cache in between.
constexpr std::int64_t kPart = std::int64_t{1} << 18;

/// A floating-point number is NaN or infinite if all bits of its exponent are set. Then, and only
/// then, one more at the lowest of them carries into the sign, which is kept of all values. Loops
/// of a constant length without a way out are what compilers make vectors of at every level.
template <typename Bits>
bool bits_are_finite(const void* data, std::int64_t count, Bits exponent) {
  constexpr std::int64_t kAtOnce = 256;
  constexpr auto kSign = static_cast<Bits>(Bits{1} << (8 * sizeof(Bits) - 1));
  const auto* values = static_cast<const Bits*>(data);
  const auto lowest = static_cast<Bits>(exponent & -exponent);
  Bits carried = 0;
  std::int64_t begin = 0;
  for (; begin + kAtOnce <= count; begin += kAtOnce) {
    for (std::int64_t i = 0; i < kAtOnce; ++i) {
      carried = static_cast<Bits>(carried | ((values[begin + i] & exponent) + lowest));
    }
  }
  for (; begin < count; ++begin) {
    carried = static_cast<Bits>(carried | ((values[begin] & exponent) + lowest));
  }
  return (carried & kSign) == 0;
}

/// `count` elements from `begin` on of a contiguous floating-point tensor on the CPU.
bool part_is_finite(const torch::Tensor& tensor, std::int64_t begin, std::int64_t count) {
  const auto* data = static_cast<const char*>(tensor.data_ptr()) +
                     begin * static_cast<std::int64_t>(tensor.element_size());
  switch (tensor.scalar_type()) {
    case torch::kFloat64:
      return bits_are_finite<std::uint64_t>(data, count, 0x7FF0'0000'0000'0000);
    case torch::kFloat32:
      return bits_are_finite<std::uint32_t>(data, count, 0x7F80'0000);
    case torch::kFloat16:
      return bits_are_finite<std::uint16_t>(data, count, 0x7C00);
    case torch::kBFloat16:
      return bits_are_finite<std::uint16_t>(data, count, 0x7F80);
    default:
      return true;
  }
}

bool can_be_read_as_bits(const torch::Tensor& tensor) {
  return tensor.device().is_cpu() && tensor.is_contiguous();
}

}  // namespace

bool is_finite(const torch::Tensor& tensor) {
  check_stored(tensor);
  if (!tensor.is_floating_point() || tensor.numel() == 0) return true;
  if (!can_be_read_as_bits(tensor)) return tensor.isfinite().all().item<bool>();
  std::atomic<bool> finite = true;
  at::parallel_for(0, tensor.numel(), kPart, [&](std::int64_t begin, std::int64_t end) {
    if (!part_is_finite(tensor, begin, end - begin)) finite = false;
  });
  return finite;
}

bool copy_finite(torch::Tensor& target, const torch::Tensor& source) {
  check_stored(source);
  if (!can_be_read_as_bits(source) || !can_be_read_as_bits(target) || !source.is_floating_point()) {
    target.copy_(source);
    return is_finite(source);
  }
  const auto from = source.detach().view({-1});
  auto to = target.detach().view({-1});
  std::atomic<bool> finite = true;
  at::parallel_for(0, from.numel(), kPart, [&](std::int64_t begin, std::int64_t end) {
    for (auto first = begin; first < end; first += kPart) {
      const auto count = std::min(kPart, end - first);
      if (!part_is_finite(from, first, count)) finite = false;
      to.narrow(0, first, count).copy_(from.narrow(0, first, count));
    }
  });
  return finite;
}

void throw_not_finite(const std::string& origin, const std::string& name) {
  throw Error(ErrorKind::kFormat,
              fmt::format("cannot use {}: the tensor {} holds NaN or infinity, which would blacken "
                          "every picture; fetch the file again, or take one from before its "
                          "training went astray",
                          origin, printable(name)));
}

void check_finite(const torch::Tensor& tensor, const std::string& origin, const std::string& name) {
  if (!is_finite(tensor)) throw_not_finite(origin, name);
}

}  // namespace mos::io
