#pragma once

#include <fmt/core.h>

#include <filesystem>
#include <string>

namespace mos::checkpoint {

/// Where commands look for a base model when nobody names one.
inline constexpr const char* kDefaultBase = "base";

/// What is said of a model that is not there. Whoever named none learns where it was looked for.
inline std::string no_model_text(const std::filesystem::path& path) {
  auto text =
      fmt::format("cannot load the model {}: there is no such folder or file", path.string());
  if (path == kDefaultBase) text += "; ./base is the default, --base names another model";
  return text;
}

}  // namespace mos::checkpoint
