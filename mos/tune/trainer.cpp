#include "mos/tune/trainer.h"

#include <ATen/Parallel.h>
#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <span>

#include "mos/base/error.h"
#include "mos/base/random.h"
#include "mos/concepts/tokens.h"
#include "mos/tune/captions.h"
#include "mos/tune/draws.h"
#include "mos/tune/plan.h"

namespace mos::tune {

using torch::Tensor;

namespace {

constexpr std::size_t kMostKeptTexts = 512;
constexpr double kLossSmoothing = 0.95;

std::int64_t ceil_div(std::int64_t all, std::int64_t part) { return (all + part - 1) / part; }

/// N(0,1) of `shape` and `offset` times N(0,1) for each channel.
Tensor draw_noise(at::IntArrayRef shape, double offset, at::Generator& generator) {
  auto noise = randn(shape, generator);
  if (offset == 0) return noise;
  return noise + offset * randn({shape[0], 1, 1}, generator);
}

/// Samples of the VAE's posteriors, with N(0,1) numbers `spread`, and the pictures' masks.
void add_pictures(const std::vector<EncodedPicture>& pictures, const std::vector<Tensor>& spread,
                  TuneBatch& batch) {
  std::vector<Tensor> latents, picture_masks, subject_masks;
  for (std::size_t i = 0; i < pictures.size(); ++i) {
    // Reparametrised samples of q(z|x), scaled already.
    latents.push_back(pictures[i].mean + pictures[i].deviation * spread[i]);
    picture_masks.push_back(pictures[i].picture_mask);
    subject_masks.push_back(pictures[i].subject_mask);
    batch.has_subject.push_back(pictures[i].has_subject);
  }
  batch.latents = torch::stack(latents);
  batch.picture_masks = torch::stack(picture_masks);
  batch.subject_masks = torch::stack(subject_masks);
}

/// The optimiser's groups: those of `attached`, at the rates of `plan`.
/// Throws kUsage when nothing would move.
std::vector<train::ParameterGroup> rated_groups(const AttachedConcept& attached,
                                                const TuningPlan& plan) {
  std::vector<train::ParameterGroup> groups;
  bool any = false;
  for (const auto& group : attached.groups()) {
    const auto rate = plan.group(group.name).rate;
    groups.push_back({group.parameters, rate});
    any = any || (rate > 0 && !group.parameters.empty());
  }
  if (any) return groups;
  throw Error(ErrorKind::kUsage,
              "nothing would be trained: there are no words, or the ranks and rates are zero");
}

TuneBatch to_device(TuneBatch batch, torch::Device device) {
  for (auto* tensor : {&batch.latents, &batch.noise, &batch.timesteps, &batch.picture_masks,
                       &batch.subject_masks}) {
    *tensor = tensor->to(device, tensor->scalar_type(), /*non_blocking=*/true);
  }
  return batch;
}

/// That of the `count` places of a round.
train::EpochOrder order_of(std::uint64_t seed, std::int64_t count) {
  return {count, [seed, count](std::int64_t epoch) {
            auto generator = generator_for(seed, Draw::kOrder, static_cast<std::uint64_t>(epoch));
            return permutation(generator, count);
          }};
}

/// The picture at each place of a round, in which every picture comes as often as it repeats.
std::vector<std::int64_t> round_of(const ConceptDataset& dataset) {
  std::vector<std::int64_t> round;
  for (std::size_t i = 0; i < dataset.pictures.size(); ++i) {
    const auto repeats = static_cast<std::size_t>(dataset.pictures[i].repeats);
    round.insert(round.end(), repeats, static_cast<std::int64_t>(i));
  }
  return round;
}

}  // namespace

std::string concept_phrase(const WordOptions& words) {
  std::string phrase;
  for (const auto& word : words.words) phrase += (phrase.empty() ? "" : " ") + word;
  return phrase.empty() ? words.class_word : phrase;
}

std::int64_t canvas_size(const diffusion::Model& base, const PictureOptions& options) {
  const auto factor = base.downscale();
  const auto size = options.size > 0 ? options.size : base.unet->config().sample_size * factor;
  if (size % factor != 0) {
    throw Error(
        ErrorKind::kUsage,
        fmt::format("\"size\" is {}, but this base model needs a multiple of {}", size, factor));
  }
  return size;
}

Trainer::Trainer(const diffusion::Model& base, const ConceptDataset& dataset,
                 const TuneOptions& options)
    : options_(options),
      plan_(plan_of(options)),
      phrase_(concept_phrase(options.words)),
      round_(round_of(dataset)),
      compute_(torch::TensorOptions().dtype(base.dtype()).device(base.device())),
      schedule_(base.schedule.to(base.device())),
      attached_(base, start_values(base, options)),
      share_size_(options.optimiser.micro_batch > 0 ? options.optimiser.micro_batch
                                                    : options.optimiser.batch),
      shares_(base, attached_,
              std::min<std::int64_t>(at::get_num_threads(),
                                     ceil_div(options.optimiser.batch, share_size_))),
      latents_(dataset, base.vae, options.pictures, canvas_size(base, options.pictures),
               options.run.seed),
      optimiser_(rated_groups(attached_, plan_), {.beta1 = options.optimiser.beta1,
                                                  .beta2 = options.optimiser.beta2,
                                                  .weight_decay = options.optimiser.weight_decay}),
      order_(order_of(options.run.seed, static_cast<std::int64_t>(round_.size()))) {
  if (plan_.terms.density_weight > 0 && !attached_.group(kWordGroup).parameters.empty()) {
    for (const auto& tower : attached_.towers()) {
      auto encoder = tower.encoder;
      density_.emplace_back(encoder->token_embedding(), plan_.terms.density_bandwidth);
    }
  }
  for (const auto& picture : dataset.pictures) captions_.push_back(picture.caption);
}

std::int64_t Trainer::picture_at(std::int64_t position) {
  return round_[static_cast<std::size_t>(order_.at(position))];
}

TuneBatch Trainer::draw_batch(std::int64_t index) {
  const auto alone = alone_where_shares_are();
  auto generator = generator_for(options_.run.seed, Draw::kStep, static_cast<std::uint64_t>(index));
  const auto shape = latents_.latent_shape();
  TuneBatch batch;
  std::vector<PictureVariant> pictures;
  std::vector<Tensor> spread, noise;
  for (std::int64_t i = 0; i < options_.optimiser.batch; ++i) {
    // A pure function of the step: a resumed run draws what an uninterrupted one does.
    const auto position = index * options_.optimiser.batch + i;
    const auto picture = picture_at(position);
    const auto kept = latents_.variants(picture);
    // Without a cache every position is a variant of its own.
    pictures.push_back({picture, kept == 0 ? position : uniform_int(generator, 0, kept - 1)});
    const auto prompt =
        draw_prompt(captions_[static_cast<std::size_t>(picture)], options_.captions, generator);
    batch.prompts.push_back(fill_placeholder(prompt, phrase_));
    spread.push_back(randn(shape, generator));
    noise.push_back(draw_noise(shape, options_.loss.noise_offset, generator));
  }
  batch.timesteps = randint(0, schedule_.size(), {options_.optimiser.batch}, generator);
  batch.noise = torch::stack(noise);
  add_pictures(latents_.get(pictures, shares_.one_thread_each()), spread, batch);
  return to_device(batch, compute_.device());
}

bool Trainer::text_is_fixed() const {
  const auto is_fixed = [&](std::string_view group) {
    const auto& parameters = attached_.group(group).parameters;
    return std::none_of(parameters.begin(), parameters.end(), [](const NamedParameter& parameter) {
      return parameter.value.requires_grad();
    });
  };
  return is_fixed(kWordGroup) &&
         std::ranges::all_of(attached_.towers(), [&](const diffusion::TextTower& tower) {
           return is_fixed(folder_of(tower.part));
         });
}

nn::Conditioning Trainer::encode(const AttachedConcept& attached,
                                 std::span<const std::string> prompts) const {
  return attached.encode(prompts).to(compute_);
}

nn::Conditioning Trainer::kept_text(const std::vector<std::string>& prompts) {
  // Prompts are few unless captions are shuffled; then keeping them all would be a leak.
  if (kept_text_.size() > kMostKeptTexts) kept_text_.clear();
  std::vector<nn::Conditioning> texts;
  bool layerwise = false;
  for (const auto& prompt : prompts) {
    auto& text = kept_text_[prompt];
    if (!text.defined()) {
      torch::NoGradGuard no_grad;
      text = encode(attached_, std::span(&prompt, 1));
    }
    texts.push_back(text);
    layerwise = layerwise || text.is_layerwise();
  }
  if (layerwise) {
    for (auto& text : texts) text = text.layerwise(attached_.tokens().layers());
  }
  return nn::cat(texts);
}

Tensor Trainer::add_gradients(const TuneBatch& batch) {
  const auto pictures = options_.optimiser.batch;
  const auto kept = text_is_fixed() ? kept_text(batch.prompts) : nn::Conditioning();
  const auto of_step = static_cast<double>(options_.optimiser.accumulate);
  const auto terms = [&](AttachedConcept& attached, std::int64_t share) {
    const auto from = share * share_size_, count = std::min(share_size_, pictures - from);
    const auto part = part_of(batch, from, count);
    const auto text = kept.defined() ? kept.narrow(from, count) : encode(attached, part.prompts);
    auto result = tuning_terms(attached, schedule_, part, text, options_.loss);
    // Shares of unequal size: each weighs as many pictures as it has, so their sum is the batch's
    // mean.
    const auto of_batch = static_cast<double>(count) / static_cast<double>(pictures);
    result.denoising = result.denoising * (of_batch / of_step);
    return result;
  };
  return shares_.add_gradients(ceil_div(pictures, share_size_), terms,
                               [&](const AttentionMaps& maps) {
                                 return weighted_attention_loss(maps, options_.loss) / of_step;
                               });
}

double Trainer::step() {
  const auto alone = alone_where_shares_are();
  switch_off(dropped_layers());
  auto loss = add_gradients_of_terms();
  for (std::int64_t i = 0; i < options_.optimiser.accumulate; ++i) {
    loss = loss + add_gradients(draw_batch(state_.step * options_.optimiser.accumulate + i));
  }
  switch_off({});
  const auto steps = static_cast<double>(options_.optimiser.steps);
  const bool linear = options_.optimiser.decay == Decay::kLinear;
  // Linear to zero over the run (reference: get_scheduler('linear')): the last steps settle.
  optimiser_.step(linear ? 1.0 - static_cast<double>(state_.step) / steps : 1.0);
  return settle(loss);
}

/// All that a step has to know of what it computed, in the one look for which it waits for the
/// device: the loss, and the norms at which groups freeze.
double Trainer::settle(const Tensor& loss) {
  const torch::NoGradGuard no_grad;
  std::vector<std::size_t> watched;
  std::vector<Tensor> numbers = {loss};
  for (std::size_t i = 0; i < attached_.groups().size(); ++i) {
    const auto& group = attached_.groups()[i];
    const bool may_freeze = plan_.group(group.name).freeze_at_norm > 0 &&
                            !group.parameters.empty() && !state_.frozen.contains(group.name);
    if (!may_freeze) continue;
    watched.push_back(i);
    numbers.push_back(mean_norm(group).to(torch::kFloat64));
  }
  const auto seen = torch::stack(numbers).cpu();
  const auto* number = seen.data_ptr<double>();
  if (!std::isfinite(number[0])) {
    throw Error(ErrorKind::kUsage,
                fmt::format("the loss is no number any more at step {}; lower the learning rates",
                            state_.step + 1));
  }
  for (std::size_t i = 0; i < watched.size(); ++i) {
    const auto& name = attached_.groups()[watched[i]].name;
    if (number[i + 1] < plan_.group(name).freeze_at_norm) continue;
    state_.frozen.insert(name);
    optimiser_.freeze(watched[i]);
  }
  state_.smoothed_loss =
      state_.step == 0 ? number[0]
                       : kLossSmoothing * state_.smoothed_loss + (1.0 - kLossSmoothing) * number[0];
  ++state_.step;
  return number[0];
}

/// Drawn anew for each step.
std::set<std::string> Trainer::dropped_layers() const {
  std::set<std::string> dropped;
  if (plan_.kv_drop == 0) return dropped;
  auto generator =
      generator_for(options_.run.seed, Draw::kDrop, static_cast<std::uint64_t>(state_.step));
  for (auto& layer : attached_.kv_layers()) {
    if (happens(generator, plan_.kv_drop)) dropped.insert(std::move(layer));
  }
  return dropped;
}

void Trainer::switch_off(const std::set<std::string>& layers) {
  if (plan_.kv_drop == 0) return;
  shares_.for_each_network([&](AttachedConcept& attached) { attached.switch_off(layers); });
}

Tensor Trainer::add_gradients_of_terms() {
  auto sum = torch::zeros({}, compute_.dtype(torch::kFloat64));
  for (std::size_t i = 0; i < density_.size(); ++i) {
    const auto& rows = attached_.group(kWordGroup).parameters[i].value;
    if (!rows.requires_grad()) continue;
    const auto loss = plan_.terms.density_weight * token_density_loss(density_[i], rows);
    loss.backward();
    sum = sum + loss.detach();
  }
  return sum;
}

std::int64_t Trainer::dividing_threads() const { return has_shares() ? 0 : at::get_num_threads(); }

bool Trainer::has_shares() const { return options_.optimiser.batch > share_size_; }

/// What this thread does between the shares must not depend on the number of threads either.
std::optional<ScopedThreads> Trainer::alone_where_shares_are() const {
  return has_shares() ? std::make_optional<ScopedThreads>(1) : std::nullopt;
}

void Trainer::save(const std::filesystem::path& path, const RunIdentity& identity) const {
  save_checkpoint(path, identity, state_, attached_, optimiser_);
}

void Trainer::resume(const std::filesystem::path& path, const RunIdentity& identity) {
  state_ = load_checkpoint(path, identity, attached_, optimiser_);
  for (std::size_t i = 0; i < attached_.groups().size(); ++i) {
    if (state_.frozen.contains(attached_.groups()[i].name)) optimiser_.freeze(i);
  }
}

}  // namespace mos::tune
