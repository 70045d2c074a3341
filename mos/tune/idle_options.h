#pragma once

#include <string_view>

#include "mos/tune/options.h"

namespace mos::tune {

/// Whether `option` changes nothing, whatever its value, since another that it is of is off in
/// `options` ("rank" where whole weights change).
bool is_idle(std::string_view option, const TuneOptions& options);

/// Says in the log which options are set otherwise than in `before` and are idle. `before` is the
/// method with its base model's defaults: those may say more than is used. No error: a record of a
/// run has all options, and one that goes over it may turn others off.
void warn_of_idle(const TuneOptions& before, const TuneOptions& options);

}  // namespace mos::tune
