#include "mos/base/version.h"

namespace mos {

const char* version() { return MOS_VERSION; }

}  // namespace mos
