#pragma once

#include <filesystem>

#include "mos/base/json.h"

namespace mos::test {

/// What is drawn of which package's files.
inline Json artwork() {
  return read_json_file(std::filesystem::path(MOS_SOURCE_DIR) / "tools" / "artwork.json");
}

}  // namespace mos::test
