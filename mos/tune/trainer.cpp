#include "mos/tune/trainer.h"

#include <ATen/Parallel.h>
#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <span>

#include "mos/base/error.h"
#include "mos/base/random.h"
#include "mos/concepts/tokens.h"
#include "mos/train/adamw.h"
#include "mos/train/gradient_descent.h"
#include "mos/tune/captions.h"
#include "mos/tune/draws.h"
#include "mos/tune/plan.h"
#include "mos/tune/start_check.h"

namespace mos::tune {

using torch::Tensor;

namespace {

constexpr std::size_t kMostKeptTexts = 512;
constexpr double kLossSmoothing = 0.95;

std::int64_t ceil_div(std::int64_t all, std::int64_t part) { return (all + part - 1) / part; }

/// The optimiser's groups: those of `attached`, at the rates of `plan`.
std::vector<train::ParameterGroup> rated_groups(const AttachedConcept& attached,
                                                const TuningPlan& plan) {
  std::vector<train::ParameterGroup> groups;
  for (const auto& group : attached.groups()) {
    groups.push_back({group.parameters, plan.group(group.name).rate});
  }
  return groups;
}

/// `options`, against which nothing speaks.
const TuneOptions& checked(const diffusion::Model& base, const ConceptDataset& dataset,
                           const TuneOptions& options) {
  check_start(base, dataset, options);
  return options;
}

TuneBatch to_device(TuneBatch batch, torch::Device device) {
  for (auto* tensor : {&batch.latents, &batch.noise, &batch.timesteps, &batch.picture_masks,
                       &batch.subject_masks, &batch.weights}) {
    if (tensor->defined())
      *tensor = tensor->to(device, tensor->scalar_type(), /*non_blocking=*/true);
  }
  return batch;
}

std::unique_ptr<train::Optimiser> optimiser_of(std::vector<train::ParameterGroup> groups,
                                               const OptimiserOptions& options) {
  if (options.rule == Rule::kDescent) {
    return std::make_unique<train::GradientDescent>(std::move(groups));
  }
  return std::make_unique<train::AdamW>(
      std::move(groups),
      train::AdamWOptions{
          .beta1 = options.beta1, .beta2 = options.beta2, .weight_decay = options.weight_decay});
}

/// Whole pictures, always the same framing, called what they were painted as.
TuneOptions options_of_prior(TuneOptions options) {
  options.pictures.framing = FramingKind::kFit;
  options.pictures.flip_probability = 0.0;
  options.captions.shuffle = false;
  options.captions.templates = Templates::kNone;
  return options;
}

/// Of `count` pictures: int64 [count] in 0 … range − 1.
Tensor draw_timesteps(Timesteps how, std::int64_t count, std::int64_t range,
                      at::Generator& generator) {
  if (how == Timesteps::kIndependent) return randint(0, range, {count}, generator);
  const auto rising = train::stratified(count, generator) * static_cast<double>(range);
  // No place in a batch shall always get the same part.
  const auto order = torch::tensor(permutation(generator, count));
  return rising.to(torch::kInt64).clamp_max(range - 1).index_select(0, order);
}

/// Throws kUsage where the class pictures that `options` ask for are not there.
ConceptDataset prior_of(const ConceptDataset& dataset, const TuneOptions& options) {
  if (options.prior.pictures > 0 && dataset.prior.empty()) {
    throw Error(ErrorKind::kUsage, "the class pictures that \"prior\" asks for are not painted");
  }
  return {.folder = {}, .pictures = dataset.prior};
}

}  // namespace

std::string concept_phrase(const WordOptions& words) {
  std::string phrase;
  for (const auto& word : words.words) phrase += (phrase.empty() ? "" : " ") + word;
  if (phrase.empty()) return words.class_word;
  const bool is_followed = words.class_behind && !words.class_word.empty();
  return is_followed ? phrase + " " + words.class_word : phrase;
}

Trainer::Trainer(const diffusion::Model& base, const ConceptDataset& dataset,
                 const TuneOptions& options)
    : options_(checked(base, dataset, options)),
      plan_(plan_of(options)),
      prior_data_(prior_of(dataset, options)),
      batch_size_(options.optimiser.batch * (options.prior.pictures > 0 ? 2 : 1)),
      compute_(torch::TensorOptions().dtype(base.dtype()).device(base.device())),
      schedule_(base.schedule.to(base.device())),
      attached_(base, start_values(base, options), plan_.weights),
      share_size_(options.optimiser.micro_batch > 0 ? options.optimiser.micro_batch : batch_size_),
      shares_(base, attached_,
              std::min<std::int64_t>(at::get_num_threads(), ceil_div(batch_size_, share_size_))),
      pictures_(dataset, base, options, Draw::kOrder, concept_phrase(options.words)),
      optimiser_(optimiser_of(rated_groups(attached_, plan_), options.optimiser)) {
  if (options.prior.pictures > 0) {
    prior_.emplace(prior_data_, base, options_of_prior(options), Draw::kPriorOrder, "");
  }
  if (plan_.terms.density_weight > 0 && !attached_.group(kWordGroup).parameters.empty()) {
    for (const auto& tower : attached_.towers()) {
      auto encoder = tower.encoder;
      density_.emplace_back(encoder->token_embedding(), plan_.terms.density_bandwidth);
    }
  }
}

TuneBatch Trainer::draw_batch(std::int64_t index) {
  const auto alone = alone_where_shares_are();
  const auto draw = [&](PictureStream& pictures, Draw purpose) {
    auto generator = generator_for(options_.run.seed, purpose, static_cast<std::uint64_t>(index));
    auto batch = pictures.draw(index, generator, shares_.one_thread_each());
    batch.timesteps = draw_timesteps(options_.loss.timesteps, options_.optimiser.batch,
                                     schedule_.size(), generator);
    return batch;
  };
  auto batch = draw(pictures_, Draw::kStep);
  if (prior_) batch = with_prior(batch, draw(*prior_, Draw::kPriorStep), options_.prior.weight);
  return to_device(std::move(batch), compute_.device());
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
  for (const auto& prompt : prompts) {
    auto& text = kept_text_[prompt];
    if (!text.defined()) {
      torch::NoGradGuard no_grad;
      text = encode(attached_, std::span(&prompt, 1));
    }
    texts.push_back(text);
  }
  return nn::cat(texts);
}

Tensor Trainer::add_gradients(const TuneBatch& batch) {
  const auto pictures = batch_size_;
  const auto kept = text_is_fixed() ? kept_text(batch.prompts) : nn::Conditioning();
  const auto of_step = static_cast<double>(options_.optimiser.accumulate);
  const auto terms = [&](AttachedConcept& attached, std::int64_t share) {
    const auto from = share * share_size_, count = std::min(share_size_, pictures - from);
    const auto part = part_of(batch, from, count);
    attached.put_weights();
    const auto text = kept.defined() ? kept.narrow(from, count) : encode(attached, part.prompts);
    auto result = tuning_terms(attached, schedule_, part, text, options_.loss);
    // The mean over the concept's pictures, and over as many of the class.
    const auto of_batch =
        static_cast<double>(count) / static_cast<double>(options_.optimiser.batch);
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
  optimiser_->step(linear ? 1.0 - static_cast<double>(state_.step) / steps : 1.0);
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
    optimiser_->freeze(watched[i]);
  }
  state_.smoothed_loss =
      state_.step == 0 ? number[0]
                       : kLossSmoothing * state_.smoothed_loss + (1.0 - kLossSmoothing) * number[0];
  ++state_.step;
  return number[0];
}

/// Drawn anew for each step.
std::set<AttachedConcept::Layer> Trainer::dropped_layers() const {
  std::set<AttachedConcept::Layer> dropped;
  auto generator =
      generator_for(options_.run.seed, Draw::kDrop, static_cast<std::uint64_t>(state_.step));
  if (plan_.lora_drop > 0 && happens(generator, plan_.lora_drop)) return attached_.layers();
  if (plan_.kv_drop == 0) return dropped;
  for (const auto& layer : attached_.kv_layers()) {
    if (happens(generator, plan_.kv_drop)) dropped.insert(layer);
  }
  return dropped;
}

void Trainer::switch_off(const std::set<AttachedConcept::Layer>& layers) {
  if (plan_.kv_drop == 0 && plan_.lora_drop == 0) return;
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

bool Trainer::has_shares() const { return batch_size_ > share_size_; }

/// What this thread does between the shares must not depend on the number of threads either.
std::optional<ScopedThreads> Trainer::alone_where_shares_are() const {
  return has_shares() ? std::make_optional<ScopedThreads>(1) : std::nullopt;
}

void Trainer::save(const CheckpointPlace& place, const RunIdentity& identity) const {
  save_checkpoint(place, identity, state_, attached_, *optimiser_);
}

void Trainer::resume(const std::filesystem::path& path, const RunIdentity& identity) {
  state_ = load_checkpoint(path, identity, attached_, *optimiser_);
  for (std::size_t i = 0; i < attached_.groups().size(); ++i) {
    if (state_.frozen.contains(attached_.groups()[i].name)) optimiser_->freeze(i);
  }
}

}  // namespace mos::tune
