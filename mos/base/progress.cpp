#include "mos/base/progress.h"

#include "mos/base/error.h"

namespace mos {

void CancelToken::check() const {
  if (cancelled()) throw Error(ErrorKind::kCancelled, "stopped on request");
}

}  // namespace mos
