#pragma once

#include "mos/tune/options.h"

namespace mos::tune {

/// Says in the log which options are set otherwise than in `before` and change nothing, since
/// another that they are of is off ("rank" where whole weights change). `before` is the method with
/// its base model's defaults: those may say more than is used. No error: a record of a run has all
/// options, and one that goes over it may turn others off.
void warn_of_idle(const TuneOptions& before, const TuneOptions& options);

}  // namespace mos::tune
