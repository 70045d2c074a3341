#include "mos/base/folder.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <system_error>

#include "mos/base/error.h"
#include "mos/base/text.h"

namespace mos {

namespace fs = std::filesystem;

namespace {

/// In lower case. Windows, macOS, Synology and QNAP.
constexpr auto kSystemNames = std::to_array<std::string_view>(
    {"thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r", "$recycle.bin",
     "system volume information", "__macosx", "@eadir", "@recycle"});

}  // namespace

bool is_system_entry(const fs::path& path) {
  const auto name = lower_ascii(path.filename().string());
  return name.starts_with('.') || name.ends_with(":zone.identifier") ||
         std::find(kSystemNames.begin(), kSystemNames.end(), name) != kSystemNames.end();
}

std::vector<fs::path> entries_of(const fs::path& folder) {
  std::error_code code;
  std::vector<fs::path> entries;
  for (fs::directory_iterator entry(folder, code), end; !code && entry != end;
       entry.increment(code)) {
    if (!is_system_entry(entry->path())) entries.push_back(entry->path());
  }
  if (code) {
    throw Error(ErrorKind::kIo,
                fmt::format("cannot read the folder {}: {}", folder.string(), code.message()));
  }
  std::sort(entries.begin(), entries.end());
  return entries;
}

}  // namespace mos
