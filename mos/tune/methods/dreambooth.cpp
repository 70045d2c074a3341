#include "mos/tune/methods/class_prior.h"

namespace mos::tune {

/// DreamBooth (Ruiz et al. 2023). Its paper has no code; the numbers are those of diffusers'
/// example as Mix-of-Show's authors ran it. With `text_rate` 1e-6 the text encoder moves too, and
/// then `unet_rate` is 1e-6.
void set_dreambooth(TuneOptions& options) {
  set_class_prior(options);
  options.weights.form = WeightForm::kFull;
  options.weights.where = Selector::kAll;
  options.optimiser.steps = 800;
  options.optimiser.batch = 2;
  options.optimiser.unet_rate = 5e-6;
}

}  // namespace mos::tune
