#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "mos/base/json.h"

namespace mos {

/// Longer YAML is refused: the configurations of original checkpoints have some kilobytes, and
/// yaml-cpp keeps a hundred bytes for each token.
inline constexpr std::size_t kMaxYamlBytes = std::size_t{4} << 20;

/// The YAML of configuration files as JSON, read by yaml-cpp, with types as YAML 1.2's core schema
/// gives them. One document; aliases, tags and keys that are no text are refused, and so is what
/// passes the bounds of base/json.h. An empty document is null.
/// Throws mos::Error(kFormat) naming `origin` and, where it is known, the line.
Json parse_yaml(std::string_view text, const std::string& origin);

}  // namespace mos
