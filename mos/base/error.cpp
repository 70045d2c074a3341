#include "mos/base/error.h"

namespace mos {

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
