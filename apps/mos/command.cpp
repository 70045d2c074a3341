#include "command.h"

#include <utility>

#include "mos/base/json.h"

namespace mos::app {

GivenOptions given_options(Flags& flags, const std::string& config, const Schema& fields) {
  const auto of_flags = flags.values(fields);
  if (config.empty()) return {of_flags, kOrigin};
  auto given = read_json_file(config);
  if (given.is_object()) given.update(of_flags);  // the job refuses what is none, with its words
  return {std::move(given), config};
}

Schema without(Schema fields, const std::string& name) {
  std::erase_if(fields, [&](const FieldInfo& field) { return field.name == name; });
  return fields;
}

}  // namespace mos::app
