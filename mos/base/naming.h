#pragma once

#include <fmt/core.h>

#include <string>
#include <string_view>

#include "mos/base/error.h"

namespace mos {

/// What `read` gives. A message of what it throws begins with `origin`, the file that is read,
/// unless that is in it already.
template <typename Read>
auto naming(const std::string& origin, const Read& read) {
  try {
    return read();
  } catch (const Error& error) {
    if (std::string_view(error.what()).find(origin) != std::string_view::npos) throw;
    throw Error(error.kind(), fmt::format("{}: {}", origin, error.what()));
  }
}

}  // namespace mos
