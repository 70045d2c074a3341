#pragma once

#include <string>

#include "mos/base/error.h"

namespace mos {

/// Throws kUsage with `message`, a whole sentence for the user, unless `holds`.
inline void require(bool holds, const std::string& message) {
  if (!holds) throw Error(ErrorKind::kUsage, message);
}

}  // namespace mos
