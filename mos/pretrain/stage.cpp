#include "mos/pretrain/stage.h"

#include <fmt/core.h>

#include <system_error>

#include "mos/base/error.h"
#include "mos/base/file.h"

namespace mos::pretrain {

namespace fs = std::filesystem;

fs::path options_of_stage(const fs::path& folder) { return folder / "options.json"; }

void write_json(const fs::path& path, const Json& value) {
  write_text_file(path, value.dump(2) + "\n");
}

void keep_options(const fs::path& folder, const Json& options) {
  std::error_code code;
  const bool is_used = fs::is_directory(folder, code) && !fs::is_empty(folder, code) &&
                       !fs::exists(options_of_stage(folder), code);
  if (is_used) {
    throw Error(ErrorKind::kUsage, fmt::format("{} holds something else than a stage of mos "
                                               "pretrain; choose another --out",
                                               folder.string()));
  }
  make_folders(folder);
  write_json(options_of_stage(folder), options);
}

}  // namespace mos::pretrain
