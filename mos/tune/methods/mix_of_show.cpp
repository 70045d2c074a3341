#include "mos/tune/methods/mix_of_show.h"

/// Mix-of-Show, and what its paper compares with as the authors ran it.
namespace mos::tune {

void set_research_branch(TuneOptions& options) {
  options.weights.where = Selector::kAttention;
  options.weights.rank = 4;
  options.weights.scale = 1.0;
  options.weights.start = DownStart::kGaussian;
  options.loss.mask_loss = false;
  options.loss.attention_weight = 0.0;
  options.loss.noise_offset = 0.0;
  options.optimiser.norm_threshold = 0.0;
  options.optimiser.decay = Decay::kLinear;
  options.optimiser.steps = 500;
  options.optimiser.batch = 2;
  options.optimiser.embedding_rate = 1e-3;
  options.optimiser.text_rate = 1e-5;
  options.optimiser.unet_rate = 1e-4;
}

namespace {

/// What the authors compare with has one word, which starts as the class word.
void set_baseline(TuneOptions& options) {
  set_research_branch(options);
  options.words.single_word = true;
}

/// Words alone: the weights stay as they are, and so does a picture at any scale of them.
void set_words_alone(TuneOptions& options) {
  set_baseline(options);
  options.weights.rank = 0;
  options.run.preview_scales = {1.0};
}

void set_density(TuneOptions& options) {
  options.loss.density_weight = 0.002;
  options.loss.density_bandwidth = 0.5;
}

}  // namespace

void set_textual_inversion(TuneOptions& options) {
  set_words_alone(options);
  options.words.rows = WordRows::kShared;
}

void set_p_plus(TuneOptions& options) {
  set_words_alone(options);
  options.words.rows = WordRows::kPerLayer;
  set_density(options);
}

void set_lora(TuneOptions& options) {
  set_baseline(options);
  options.words.rows = WordRows::kShared;
  options.optimiser.embedding_rate = 5e-4;
}

/// The program's own defaults.
void set_ed_lora(TuneOptions&) {}

void set_ed_lora_paper(TuneOptions& options) {
  set_research_branch(options);
  options.words.rows = WordRows::kPerLayer;
  set_density(options);
  options.weights.kv_drop = 0.2;
  options.loss.noise_offset = 0.01;
  options.optimiser.steps = 1000;
  options.optimiser.batch = 4;
}

}  // namespace mos::tune
