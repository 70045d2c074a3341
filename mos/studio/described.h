#pragma once

#include <string>

#include "mos/studio/parts.h"

namespace mos::studio {

/// What the reader answers to `request` about the file or folder `path`; kept in the database until
/// that is another one. Throws as Reader::ask.
Json described(const Parts& parts, const std::string& request, const std::string& path);

}  // namespace mos::studio
