#include "mos/tune/start_check.h"

#include <fmt/core.h>

#include "mos/base/error.h"
#include "mos/nn/linear.h"
#include "mos/tune/attached_concept.h"
#include "mos/tune/forms/forms.h"
#include "mos/tune/latents.h"
#include "mos/tune/plan.h"
#include "mos/tune/prior.h"
#include "mos/tune/trainer.h"

namespace mos::tune {

namespace {

/// Whether weights of any network would move.
bool moves_weights(const diffusion::Model& base, const TuningPlan& plan) {
  bool any = false;
  for (const auto part : base.tuned_parts()) {
    if (!plan.changes(part) || plan.group(folder_of(part)).rate <= 0) continue;
    nn::for_each_lora_layer(*base.network(part), [&](const std::string& name, nn::LoraLayer&) {
      any = any || selects(plan.weights.where, name);
    });
  }
  return any;
}

bool moves_words(const WordOptions& words, const TuningPlan& plan) {
  return plan.rows != WordRows::kNone && !words.words.empty() && plan.group(kWordGroup).rate > 0;
}

void check_words(const diffusion::Model& base, const WordOptions& words) {
  if (words.rows == WordRows::kNone) return;
  for (const auto& initializer : words.initializers) {
    for (const auto& tower : base.towers) check_initializer(tower.tokenizer, initializer);
  }
}

/// A run shows the U-Net what the VAE gives, and nothing beside it.
void check_channels(const diffusion::Model& base) {
  auto unet = base.unet;
  auto vae = base.vae;
  const auto reads = unet->config().in_channels, given = vae->config().latent_channels;
  if (reads == given) return;
  throw Error(ErrorKind::kMismatch,
              fmt::format("the base's U-Net reads {} channels and its VAE gives {}: an inpainting "
                          "model is for painting; tune on the plain model that it was made from",
                          reads, given));
}

void check_bases(const diffusion::Model& base, const TuningPlan& plan) {
  const bool have_bases =
      plan.weights.form == WeightForm::kLowRank && plan.weights.start == DownStart::kOrthogonal;
  for (const auto part : base.tuned_parts()) {
    if (!have_bases || !plan.changes(part)) continue;
    nn::for_each_lora_layer(*base.network(part),
                            [&](const std::string& name, nn::LoraLayer& layer) {
                              if (!selects(plan.weights.where, name)) return;
                              forms::check_basis(layer.in_features(), plan.weights.rank);
                            });
  }
}

}  // namespace

void check_start(const diffusion::Model& base, const ConceptDataset& dataset,
                 const TuneOptions& options) {
  const auto plan = plan_of(options);
  check_channels(base);
  check_shapes(dataset, options.pictures, canvas_size(base, options.pictures), base.downscale());
  check_words(base, options.words);
  check_bases(base, plan);
  if (options.prior.pictures > 0) (void)prior_prompt(options);
  if (moves_words(options.words, plan) || moves_weights(base, plan)) return;
  throw Error(ErrorKind::kUsage,
              "nothing would be trained: there are no words, or the ranks and rates are zero");
}

}  // namespace mos::tune
