#pragma once

#include <c10/core/Device.h>

#include <string>

namespace mos {

/// "cpu", "cuda" or "cuda:1". Throws kUsage for other names, kDevice when there is no such device.
c10::Device device_named(const std::string& name);

}  // namespace mos
