#include "command.h"

#include <fmt/core.h>

#include <utility>

#include "mos/base/json.h"

namespace mos::app {

GivenOptions given_options(Flags& flags, const std::string& config, const Schema& fields) {
  const auto of_flags = flags.values(fields);
  if (config.empty()) return {of_flags, kOrigin};
  auto given = read_json_file(config);
  if (!given.is_object()) return {std::move(given), config};  // the job refuses it, with its words
  flags.note_file(given);
  given.update(of_flags);
  for (const auto& field : fields) {  // a job does not know which file its options are from
    const auto found = given.find(field.name);
    if (found == given.end()) continue;
    if (field.is_optional && found->is_null()) {  // as if it were not there
      given.erase(found);
      continue;
    }
    check_value(field, fmt::format("{}: \"{}\"", config, field.name), *found);
  }
  return {std::move(given), config};
}

Schema flags_only(Schema fields) {
  for (auto& field : fields) field.is_flag_only = true;
  return fields;
}

Schema without(Schema fields, const std::string& name) {
  std::erase_if(fields, [&](const FieldInfo& field) { return field.name == name; });
  return fields;
}

}  // namespace mos::app
