#include "command.h"

#include <utility>

namespace mos::app {

Schema without(Schema fields, const std::string& name) {
  std::erase_if(fields, [&](const FieldInfo& field) { return field.name == name; });
  return fields;
}

}  // namespace mos::app
