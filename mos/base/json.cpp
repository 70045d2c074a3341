#include "mos/base/json.h"

#include <fmt/core.h>

#include "mos/base/error.h"
#include "mos/base/file.h"

namespace mos {

Json parse_json(std::string_view text, const std::string& origin) {
  try {
    return Json::parse(text);
  } catch (const nlohmann::json::exception& error) {
    throw Error(ErrorKind::kFormat, fmt::format("{} is not valid JSON: {}", origin, error.what()));
  }
}

Json read_json_file(const std::filesystem::path& path) {
  return parse_json(read_text_file(path), path.string());
}

void throw_json_type_error(const std::string& key, const Json& value) {
  throw Error(ErrorKind::kFormat, fmt::format("\"{}\" has the value {}, which is of the wrong type",
                                              key, value.dump()));
}

void throw_json_missing(const std::string& key) {
  throw Error(ErrorKind::kFormat, fmt::format("\"{}\" is missing", key));
}

}  // namespace mos
