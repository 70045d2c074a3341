#include "mos/tune/methods/class_prior.h"

namespace mos::tune {

void set_class_prior(TuneOptions& options) {
  options.words.rows = WordRows::kNone;
  options.words.rare_word = "sks";
  options.words.class_behind = true;
  options.loss.mask_loss = false;
  options.loss.attention_weight = 0.0;
  options.loss.noise_offset = 0.0;
  // A weight that changes as a whole would paint the concept for the empty prompt, too.
  options.captions.dropout = 0.0;
  options.prior.pictures = 200;
  options.prior.weight = 1.0;
  options.optimiser.decay = Decay::kNone;
  options.optimiser.norm_threshold = 0.0;
  options.optimiser.text_rate = 0.0;
}

}  // namespace mos::tune
