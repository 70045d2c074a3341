#include "mos/tune/methods/mix_of_show.h"

namespace mos::tune {

/// Orthogonal Adaptation (Po et al. 2024): ED-LoRA whose `down` factors are rows of one orthogonal
/// matrix, other ones for each concept, and do not move; then the sum of updates merges concepts.
void set_orthogonal_adaptation(TuneOptions& options) {
  set_ed_lora_paper(options);
  options.weights.start = DownStart::kOrthogonal;
}

}  // namespace mos::tune
