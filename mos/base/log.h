#pragma once

#include <string_view>

/// Talk for people, on stderr; stdout is for results.
namespace mos::log {

void info(std::string_view message);
void warn(std::string_view message);

}  // namespace mos::log
