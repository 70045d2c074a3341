#pragma once

#include <map>
#include <string>

#include "mos/base/json.h"
#include "mos/checkpoint/part.h"

namespace mos::checkpoint {

/// The configs of a model's parts, as diffusers' folders have them.
struct ModelConfigs {
  std::map<Part, Json> networks;
  Json scheduler;
};

/// Those of "sd15" (Stable Diffusion 1.5) or "sd21" (2.1 at 768 pixels, which predicts v).
/// Throws mos::Error(kUsage) for other names.
ModelConfigs reference_configs(const std::string& name);

}  // namespace mos::checkpoint
