#include "mos/base/device.h"

#include <ATen/Context.h>
#include <fmt/core.h>

#include "mos/base/error.h"

namespace mos {

torch::Device device_named(const std::string& name) {
  const bool cuda = name == "cuda" || name.starts_with("cuda:");
  if (!cuda && name != "cpu") {
    throw Error(ErrorKind::kUsage,
                fmt::format("--device is \"{}\", expected cpu, cuda or cuda:NUMBER", name));
  }
  if (cuda && !at::hasCUDA()) {
    throw Error(ErrorKind::kDevice,
                fmt::format("cannot compute on {}: this LibTorch sees no CUDA device; use --device "
                            "cpu",
                            name));
  }
  try {
    return torch::Device(name);
  } catch (const c10::Error&) {
    throw Error(ErrorKind::kUsage, fmt::format("--device is \"{}\", expected cuda:NUMBER", name));
  }
}

}  // namespace mos
