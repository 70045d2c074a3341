#pragma once

#include "mos/tune/options.h"

namespace mos::tune {

/// Throws mos::Error(kUsage) naming the first option that `options` sets otherwise than `before`
/// and that nothing comes of, since another that it is of is off ("rank" where whole weights
/// change). `before` is the method with its base model's defaults: those may say more than is used.
void check_idle(const TuneOptions& before, const TuneOptions& options);

}  // namespace mos::tune
