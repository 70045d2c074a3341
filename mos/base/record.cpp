#include "mos/base/record.h"

#include "mos/base/error.h"
#include "mos/base/json.h"

namespace mos {

bool is_own_record(const std::filesystem::path& path) {
  try {
    return read_json_file(path).contains(kProgramKey);
  } catch (const Error&) {
    return false;
  }
}

}  // namespace mos
