#include "mos/base/error.h"

#include "mos/base/text.h"

namespace mos {

Error::Error(ErrorKind kind, const std::string& message)
    : std::runtime_error(printable(message, kLongestMessage)), kind_(kind) {}

int exit_code(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kUsage:
      return 2;
    case ErrorKind::kIo:
    case ErrorKind::kFormat:
      return 3;
    case ErrorKind::kMismatch:
      return 4;
    case ErrorKind::kDevice:
      return 5;
    case ErrorKind::kCancelled:
      return 130;
  }
  return 1;
}

}  // namespace mos
