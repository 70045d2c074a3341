#pragma once

#include "mos/tune/options.h"

namespace mos::tune {

/// What methods have in common that learn whole pictures beside class pictures: Eq. 1 alone on
/// both, AdamW at constant rates, no words of their own but a rare plain one before the class word.
void set_class_prior(TuneOptions& options);

}  // namespace mos::tune
