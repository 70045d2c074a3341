#pragma once

#include <string>
#include <string_view>

namespace mos {

/// `text` with every occurrence of `from` (not empty) replaced by `to`, found from left to right.
std::string replaced(std::string text, std::string_view from, std::string_view to);

}  // namespace mos
