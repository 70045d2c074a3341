#pragma once

#include <string>
#include <vector>

#include "mos/base/json.h"

/// Values against as much of JSON Schema as `--help json` and docs/openapi.json use: type, enum,
/// minimum, maximum, items, properties, required, additionalProperties, oneOf and $ref.
namespace mos::studio {

/// What is wrong with `value`, a sentence each, beginning with where; empty: nothing. `document` is
/// what references ("#/components/schemas/Job") are looked up in.
std::vector<std::string> schema_problems(const Json& value, const Json& schema,
                                         const Json& document, const std::string& where);

}  // namespace mos::studio
