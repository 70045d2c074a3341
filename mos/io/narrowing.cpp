#include "mos/io/narrowing.h"

#include <c10/core/ScalarType.h>
#include <fmt/core.h>

#include "mos/base/error.h"
#include "mos/base/log.h"
#include "mos/base/text.h"

namespace mos::io {

using torch::Tensor;

namespace {

std::int64_t count(const Tensor& mask) { return mask.sum().item<std::int64_t>(); }

/// Types of more bytes hold all that those of fewer do; of two with 16 bits neither does.
bool may_lose(torch::ScalarType from, torch::ScalarType to) {
  return from != to && c10::isFloatingType(from) && c10::isFloatingType(to) &&
         c10::elementSize(to) <= c10::elementSize(from);
}

/// What a cast lost.
struct Lost {
  std::int64_t infinite = 0;  ///< Numbers that were finite.
  std::int64_t zeroed = 0;    ///< Numbers that were not 0.
};

/// In parts, since what counting makes of a large tensor is several times its size.
Lost lost_between(const Tensor& source, const Tensor& result) {
  constexpr std::int64_t kPart = 1 << 22;
  const auto before = source.flatten(), after = result.flatten();
  Lost lost;
  for (std::int64_t first = 0; first < before.numel(); first += kPart) {
    const auto from = before.slice(0, first, first + kPart);
    const auto to = after.slice(0, first, first + kPart).to(torch::kFloat32);
    lost.zeroed += count(to.eq(0)) - count(from.eq(0));
    const auto infinite = count(to.isinf());
    if (infinite > 0) lost.infinite += infinite - count(from.to(torch::kFloat64).isinf());
  }
  return lost;
}

/// "float16", "bfloat16", …
std::string dtype_text(torch::ScalarType dtype) {
  if (dtype == torch::kFloat16) return "float16";
  if (dtype == torch::kFloat32) return "float32";
  if (dtype == torch::kFloat64) return "float64";
  return lower_ascii(c10::toString(dtype));
}

[[noreturn]] void refuse(const std::string& name, const Tensor& tensor, std::int64_t beyond,
                         const std::string& dtype) {
  const auto finite = tensor.masked_select(tensor.isfinite()).to(torch::kFloat64);
  throw Error(
      ErrorKind::kMismatch,
      fmt::format("{} of the {} numbers in {} are too large for {} (up to {:.4g}) and would "
                  "become infinite; write it in float32 or bfloat16",
                  beyond, tensor.numel(), name, dtype, finite.abs().max().item<double>()));
}

}  // namespace

Tensor Narrowing::cast(const std::string& name, const Tensor& tensor, torch::ScalarType dtype) {
  const auto result = tensor.detach().to(torch::kCPU, dtype);
  if (!may_lose(tensor.scalar_type(), dtype)) return result;
  const auto source = tensor.detach().to(torch::kCPU);
  const auto lost = lost_between(source, result);
  if (lost.infinite > 0) refuse(name, source, lost.infinite, dtype_text(dtype));
  numbers_ += tensor.numel();
  if (lost.zeroed == 0) return result;
  if (zeroed_ == 0) first_ = name;
  dtype_ = dtype_text(dtype);
  zeroed_ += lost.zeroed;
  ++tensors_;
  return result;
}

void Narrowing::warn(const std::string& origin) const {
  if (zeroed_ == 0) return;
  log::warn(
      fmt::format("{}: {} of {} numbers are too small for {} and became zero, in {} tensor{} (the "
                  "first is {}); float32 and bfloat16 keep them",
                  origin, zeroed_, numbers_, dtype_, tensors_, tensors_ == 1 ? "" : "s", first_));
}

}  // namespace mos::io
