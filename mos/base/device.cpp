#include "mos/base/device.h"

#include <ATen/Context.h>
#include <fmt/core.h>
#include <torch/types.h>

#include <cstdint>

#include "mos/base/error.h"
#include "mos/base/text.h"

namespace mos {

bool is_device_name(std::string_view name) {
  constexpr std::string_view kNumbered = "cuda:";
  if (!name.starts_with(kNumbered)) return name == "cpu" || name == "cuda";
  name.remove_prefix(kNumbered.size());
  const auto number = number_in<std::int8_t>(name);  // as torch counts them
  return number && *number >= 0 && (name.size() == 1 || name.front() != '0');
}

torch::Device device_named(const std::string& name) {
  if (!is_device_name(name)) {
    throw Error(ErrorKind::kUsage,
                fmt::format("--device is \"{}\", expected cpu, cuda or cuda:NUMBER", name));
  }
  if (name != "cpu" && !at::hasCUDA()) {
    throw Error(ErrorKind::kDevice,
                fmt::format("cannot compute on {}: this LibTorch sees no CUDA device; use --device "
                            "cpu",
                            name));
  }
  return torch::Device(name);
}

}  // namespace mos
