#include "mos/tune/objective.h"

#include <memory>
#include <optional>

#include "mos/concepts/tokens.h"
#include "mos/tune/first_token.h"

namespace mos::tune {

using torch::Tensor;

TuneBatch part_of(const TuneBatch& batch, std::int64_t from, std::int64_t count) {
  const auto part = [&](const Tensor& all) { return all.narrow(0, from, count); };
  const auto names = batch.prompts.begin() + from;
  const auto subjects = batch.has_subject.begin() + from;
  return {.latents = part(batch.latents),
          .noise = part(batch.noise),
          .timesteps = part(batch.timesteps),
          .prompts = {names, names + count},
          .picture_masks = part(batch.picture_masks),
          .subject_masks = part(batch.subject_masks),
          .weights = batch.weights.defined() ? part(batch.weights) : Tensor(),
          .has_subject = {subjects, subjects + count}};
}

TuneBatch with_prior(const TuneBatch& own, const TuneBatch& prior, double weight) {
  const auto both = [](const Tensor& a, const Tensor& b) { return torch::cat({a, b}); };
  TuneBatch batch{.latents = both(own.latents, prior.latents),
                  .noise = both(own.noise, prior.noise),
                  .timesteps = both(own.timesteps, prior.timesteps),
                  .prompts = own.prompts,
                  .picture_masks = both(own.picture_masks, prior.picture_masks),
                  .subject_masks = both(own.subject_masks, prior.subject_masks),
                  .weights = both(torch::ones({own.latents.size(0)}),
                                  torch::full({prior.latents.size(0)}, weight)),
                  .has_subject = own.has_subject};
  batch.prompts.insert(batch.prompts.end(), prior.prompts.begin(), prior.prompts.end());
  batch.has_subject.insert(batch.has_subject.end(), prior.has_subject.begin(),
                           prior.has_subject.end());
  return batch;
}

Tensor masked_loss(const Tensor& prediction, const Tensor& target, const Tensor& mask,
                   const Tensor& weights) {
  const auto error =
      (prediction.to(torch::kFloat32) - target.to(torch::kFloat32)).square() * mask;  // [B,C,h,w]
  // A mean for each picture first: a small subject counts as much as a large one (reference:
  // trainer_edlora.py).
  const auto errors = error.sum({1, 2, 3}) / mask.sum({1, 2, 3});
  return (weights.defined() ? errors * weights : errors).mean();
}

WordColumns find_word_columns(const AttachedConcept& attached, const TuneBatch& batch) {
  std::vector<std::int64_t> samples, columns;
  for (std::size_t i = 0; i < batch.prompts.size(); ++i) {
    if (!batch.has_subject[i]) continue;
    const auto ids =
        attached.tokenizer().encode_padded(attached.tokens().bind(batch.prompts[i])[0]);
    std::vector<std::int64_t> places;
    for (std::size_t at = 0; at < ids.size(); ++at) {
      if (attached.tokens().is_concept_token(ids[at])) {
        places.push_back(static_cast<std::int64_t>(at));
      }
    }
    // The regularisation is about a concept's two words: the first is its identity, the second its
    // class (paper, section 3.2).
    if (places.size() < 2) continue;
    samples.push_back(static_cast<std::int64_t>(i));
    columns.insert(columns.end(), {places[0], places[1]});
  }
  const auto device = batch.latents.device();
  return {torch::tensor(samples, torch::kInt64).to(device),
          torch::tensor(columns, torch::kInt64)
              .view({static_cast<std::int64_t>(samples.size()), 2})
              .to(device)};
}

namespace {

/// [B,1,h,w]: the subject where the loss shall follow it and there is a mask, else the picture.
Tensor loss_mask(const TuneBatch& batch, const LossOptions& options) {
  if (!options.mask_loss) return batch.picture_masks;
  std::vector<Tensor> rows;
  for (std::size_t i = 0; i < batch.has_subject.size(); ++i) {
    const auto& source = batch.has_subject[i] ? batch.subject_masks : batch.picture_masks;
    rows.push_back(source[static_cast<std::int64_t>(i)]);
  }
  return torch::stack(rows);
}

}  // namespace

TuningTerms tuning_terms(AttachedConcept& attached, const diffusion::NoiseSchedule& schedule,
                         const TuneBatch& batch, const nn::Conditioning& text,
                         const LossOptions& options) {
  std::shared_ptr<AttentionRecorder> recorder;
  std::optional<nn::ScopedProcessor> recording;
  // Recording keeps the attention maps of all layers for the gradient: only where a term needs
  // them.
  if (options.attention_weight > 0) {
    if (auto columns = find_word_columns(attached, batch); !columns.empty()) {
      recorder = std::make_shared<AttentionRecorder>(std::move(columns));
      recording.emplace(attached.unet()->cross_attentions(), recorder);
    }
  }
  std::optional<nn::ScopedProcessor> stopping;
  if (options.stop_first_token) {
    stopping.emplace(attached.unet()->cross_attentions(), std::make_shared<FirstTokenStop>());
  }
  const auto noisy = schedule.add_noise(batch.latents, batch.noise, batch.timesteps);
  const auto prediction =
      attached.unet()(noisy.to(text.context.scalar_type()), batch.timesteps, text);
  // float32 on both sides of the difference, whatever the network computes in.
  const auto target = schedule.target(batch.latents, batch.noise, batch.timesteps);
  TuningTerms terms{.denoising =
                        masked_loss(prediction, target, loss_mask(batch, options), batch.weights)};
  if (recorder) terms.attention = maps_of(*recorder, batch.subject_masks);
  return terms;
}

Tensor weighted_attention_loss(const AttentionMaps& maps, const LossOptions& options) {
  const auto subject =
      options.full_identity ? SubjectAttention::kFillsMask : SubjectAttention::kStaysInside;
  return options.attention_weight * attention_loss(maps, subject);
}

}  // namespace mos::tune
