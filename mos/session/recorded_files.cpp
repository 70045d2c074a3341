#include "mos/session/recorded_files.h"

#include <fmt/core.h>

#include <filesystem>
#include <system_error>

#include "mos/base/error.h"

namespace mos::session {

namespace fs = std::filesystem;

void check_recorded(const std::string& what, const std::string& path, const std::string& option) {
  std::error_code ignored;
  if (path.empty() || fs::exists(path, ignored)) return;
  throw Error(
      ErrorKind::kIo,
      fmt::format("the picture says that it was painted with {} {}, which is not there{}; "
                  "name its place with {}",
                  what, path, fs::path(path).is_relative() ? " from this folder" : "", option));
}

}  // namespace mos::session
