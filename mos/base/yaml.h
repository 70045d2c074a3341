#pragma once

#include <string>
#include <string_view>

#include "mos/base/json.h"

namespace mos {

/// The YAML of configuration files as JSON: nested mappings and lists by indentation, lists in
/// brackets, plain and quoted scalars, comments. Anchors, tags, several documents and texts of
/// several lines are refused.
/// Throws mos::Error(kFormat) naming `origin` and the line.
Json parse_yaml(std::string_view text, const std::string& origin);

}  // namespace mos
