#pragma once

#include <string_view>

/// Talk for people, on stderr; stdout is for results. Nothing here fails: a terminal may be closed
/// while the work that it was opened for goes on.
namespace mos::log {

void info(std::string_view message);
void warn(std::string_view message);

/// `text` as it is, without the end of a line.
void write(std::string_view text);

}  // namespace mos::log
