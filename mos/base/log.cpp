#include "mos/base/log.h"

#include <fmt/core.h>

#include <cstdio>

#include "mos/base/error.h"
#include "mos/base/text.h"

namespace mos::log {

void info(std::string_view message) { write(fmt::format("{}\n", message)); }

void warn(std::string_view message) {
  write(fmt::format("warning: {}\n", printable(message, kLongestMessage)));
}

void write(std::string_view text) { (void)std::fwrite(text.data(), 1, text.size(), stderr); }

}  // namespace mos::log
