#include "mos/tune/methods/class_prior.h"

namespace mos::tune {

/// Custom Diffusion (Kumari et al. 2023) on one device: rates 1e-5 for each picture of the batch,
/// twice that with class pictures, the same for the word as for the weights. Its code sums the
/// concept's error over channels, whose mask has one, and takes the mean of that of class pictures;
/// ours are both sums (masked_loss), so these weigh one through the 4 channels of Stable
/// Diffusion's latents.
void set_custom_diffusion(TuneOptions& options) {
  constexpr double kChannels = 4.0;
  set_class_prior(options);
  options.words.rows = WordRows::kShared;
  options.words.rare_word = "ktn";
  options.weights.form = WeightForm::kFull;
  options.weights.where = Selector::kCrossKv;
  options.loss.stop_first_token = true;
  options.pictures.framing = FramingKind::kZoom;
  options.optimiser.steps = 250;
  options.optimiser.batch = 4;
  options.optimiser.embedding_rate = 8e-5;
  options.optimiser.unet_rate = 8e-5;
  options.prior.guidance = 6.0;
  options.prior.weight = 1.0 / kChannels;
}

}  // namespace mos::tune
