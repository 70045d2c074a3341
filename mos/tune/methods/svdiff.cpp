#include "mos/tune/methods/class_prior.h"

namespace mos::tune {

/// SVDiff (Han et al. 2023), one subject.
void set_svdiff(TuneOptions& options) {
  set_class_prior(options);
  options.weights.form = WeightForm::kSpectral;
  options.weights.where = Selector::kAll;
  options.optimiser.steps = 500;
  options.optimiser.batch = 1;
  options.optimiser.unet_rate = 1e-3;
}

}  // namespace mos::tune
