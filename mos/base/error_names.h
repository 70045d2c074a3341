#pragma once

#include <array>

#include "mos/base/choice.h"
#include "mos/base/error.h"

namespace mos {

/// What programs that read our output are told of a failure (choice.h).
constexpr auto choice_names(ErrorKind /*type*/) {
  return std::to_array<Named<ErrorKind>>({{"usage", ErrorKind::kUsage},
                                          {"io", ErrorKind::kIo},
                                          {"format", ErrorKind::kFormat},
                                          {"mismatch", ErrorKind::kMismatch},
                                          {"device", ErrorKind::kDevice},
                                          {"cancelled", ErrorKind::kCancelled}});
}

}  // namespace mos
