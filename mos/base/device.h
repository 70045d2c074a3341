#pragma once

#include <c10/core/Device.h>

#include <string>
#include <string_view>

namespace mos {

/// Whether that is the name of a device, there or not.
bool is_device_name(std::string_view name);

/// "cpu", "cuda" or "cuda:1". Throws kUsage for other names, kDevice when there is no such device.
c10::Device device_named(const std::string& name);

}  // namespace mos
