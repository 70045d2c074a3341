#include "mos/studio/described.h"

#include <fmt/core.h>

#include <system_error>

namespace mos::studio {
namespace {

/// Changes with the file; of a folder with what is put into it or taken away.
std::string state_of(const std::filesystem::path& place) {
  std::error_code ignored;
  const auto bytes = std::filesystem::is_directory(place, ignored)
                         ? 0
                         : std::filesystem::file_size(place, ignored);
  const auto changed = std::filesystem::last_write_time(place, ignored).time_since_epoch().count();
  return fmt::format("{}-{}", bytes, changed);
}

}  // namespace

Json described(const Parts& parts, const std::string& request, const std::string& path) {
  const auto question = request + " " + path, state = state_of(parts.folder.root() / path);
  {  // a statement keeps others from the database
    Statement select(parts.database, "SELECT answer FROM answers WHERE question = ? AND build = ?");
    select.bind(question).bind(state);
    if (select.step()) return parse_json(select.text(0), "the database");
  }
  const auto answer = parts.reader.ask({{"do", request}, {"file", path}});
  Statement insert(parts.database, "INSERT OR REPLACE INTO answers VALUES (?, ?, ?)");
  insert.bind(question).bind(state).bind(json_text(answer)).run();
  return answer;
}

}  // namespace mos::studio
