#include "mos/tune/methods/class_prior.h"

namespace mos::tune {

/// Cones (Liu et al. 2023), one subject. The paper's loss is a mean over channels; ours is their
/// sum (masked_loss), so with the 4 channels of Stable Diffusion's latents a rate is a fourth, and
/// the threshold of weight · gradient four times the paper's.
void set_cones(TuneOptions& options) {
  constexpr double kChannels = 4.0;
  set_class_prior(options);
  options.weights.form = WeightForm::kNeurons;
  options.weights.where = Selector::kKv;
  options.weights.neuron_threshold = 7e-3 * kChannels;
  options.optimiser.rule = Rule::kDescent;
  options.optimiser.steps = 1000;
  options.optimiser.batch = 1;
  options.optimiser.unet_rate = 2e-5 / kChannels;
}

}  // namespace mos::tune
