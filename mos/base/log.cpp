#include "mos/base/log.h"

#include <fmt/core.h>

#include <cstdio>

#include "mos/base/error.h"
#include "mos/base/text.h"

namespace mos::log {

void info(std::string_view message) { fmt::print(stderr, "{}\n", message); }

void warn(std::string_view message) {
  fmt::print(stderr, "warning: {}\n", printable(message, kLongestMessage));
}

}  // namespace mos::log
