#include "mos/fuse/distill.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numbers>
#include <numeric>
#include <utility>

#include "mos/concepts/lora.h"
#include "mos/nn/linear.h"
#include "mos/train/adamw.h"
#include "mos/train/draws.h"

namespace mos::fuse {

using concepts::LayerUpdates;
using concepts::LowRank;
using torch::Tensor;

namespace {

constexpr std::int64_t kWarmup = 10;      // steps
constexpr std::uint64_t kLessonDraw = 1;  // purpose of the draws
constexpr double kPast = 0.99;            // of squared gradients: a few hundred steps are all

LayerUpdates pairs_of(const LayerUpdates& updates) {
  LayerUpdates pairs;
  for (const auto& [layer, update] : updates) {
    if (update.is_low_rank()) pairs.emplace(layer, update);
  }
  return pairs;
}

/// Pairs in a network that trains nothing else, for as long as this lives.
class AttachedPairs {
 public:
  AttachedPairs(nn::UNet2DConditionModel unet, const LayerUpdates& pairs) : unet_(std::move(unet)) {
    for (auto& parameter : unet_->parameters()) parameter.set_requires_grad(false);
    concepts::attach_lora(*unet_, pairs, 1.0, "the fused update");
    nn::use_engine(*unet_, nn::Engine::kFused);
  }
  ~AttachedPairs() {
    nn::use_engine(*unet_, nn::Engine::kLibTorch);
    concepts::detach_lora(*unet_);
  }
  AttachedPairs(const AttachedPairs&) = delete;
  AttachedPairs& operator=(const AttachedPairs&) = delete;

  /// A group for each factor, as each has a rate of its own.
  std::vector<train::ParameterGroup> groups(double relative_rate) const {
    std::vector<train::ParameterGroup> result;
    auto unet = unet_;
    nn::for_each_lora_layer(*unet, [&](const std::string& name, nn::LoraLayer& layer) {
      if (!layer.has_lora()) return;
      for (const auto& factor : {layer.lora_down()->weight, layer.lora_up()->weight}) {
        const auto size = factor.detach().square().mean().sqrt().item<double>();
        result.push_back({.parameters = {{name, factor}}, .rate = relative_rate * size});
      }
    });
    return result;
  }

 private:
  nn::UNet2DConditionModel unet_;
};

/// Some calls of lessons, what was said then, and how much that counts.
struct Calls {
  Tensor noisy, timestep, said;
  nn::Conditioning text;
  Tensor weight;  ///< [B] float32

  Calls narrow(std::int64_t from, std::int64_t count) const {
    const auto part = [&](const Tensor& all) { return all.narrow(0, from, count); };
    return {.noisy = part(noisy),
            .timestep = part(timestep),
            .said = part(said),
            .text = text.narrow(from, count),
            .weight = part(weight)};
  }
};

Calls cat(const std::vector<Calls>& parts) {
  const auto joined = [&](Tensor Calls::*member) {
    std::vector<Tensor> list;
    for (const auto& part : parts) list.push_back(part.*member);
    return torch::cat(list);
  };
  std::vector<nn::Conditioning> texts;
  for (const auto& part : parts) texts.push_back(part.text);
  return {.noisy = joined(&Calls::noisy),
          .timestep = joined(&Calls::timestep),
          .said = joined(&Calls::said),
          .text = nn::cat(texts),
          .weight = joined(&Calls::weight)};
}

/// One concept's lessons as the fused model gets them.
class Course {
 public:
  Course(const diffusion::Model& model, const concepts::ConceptTokens& tokens,
         const Lessons& lessons, torch::ScalarType dtype)
      : options_(torch::TensorOptions().dtype(dtype).device(model.device())), lessons_(lessons) {
    for (const auto& prompt : lessons.prompts) {
      texts_.push_back(
          concepts::encode_prompts(tokens, model.towers, std::span(&prompt, 1)).to(options_));
    }
    const auto is_aside = lessons.held_aside;
    taught_ = is_aside.logical_not().nonzero().squeeze(1);
    asked_ = is_aside.any().item<bool>() ? is_aside.nonzero().squeeze(1) : taught_;
  }

  /// Some of what is taught.
  Calls drawn(std::int64_t count, double weight, at::Generator& generator) const {
    return calls(taught_.index_select(
                     0, torch::randint(0, taught_.size(0), {count}, generator, torch::kInt64)),
                 weight);
  }
  /// All that is not.
  Calls aside() const { return calls(asked_, 1.0 / static_cast<double>(asked_.size(0))); }

 private:
  Calls calls(const Tensor& numbers, double weight) const {
    const auto of_calls = [&](const Tensor& all) { return all.index_select(0, numbers); };
    std::vector<nn::Conditioning> texts;
    const auto prompts = of_calls(lessons_.prompt);
    for (std::int64_t i = 0; i < prompts.size(0); ++i) {
      texts.push_back(texts_[static_cast<std::size_t>(prompts[i].item<std::int64_t>())]);
    }
    return {.noisy = of_calls(lessons_.noisy).to(options_),
            .timestep = of_calls(lessons_.timestep).to(options_.device()),
            .said = of_calls(lessons_.said).to(options_.device()),
            .text = nn::cat(texts),
            .weight = torch::full({numbers.size(0)}, weight, options_.dtype(torch::kFloat32))};
  }

  torch::TensorOptions options_;
  const Lessons& lessons_;
  std::vector<nn::Conditioning> texts_;  ///< By prompt.
  Tensor taught_, asked_;                ///< int64, numbers of calls.
};

/// Rises, then falls along half a cosine.
double rate_factor(std::int64_t step, std::int64_t steps) {
  const double rise = std::min(1.0, static_cast<double>(step + 1) / kWarmup);
  const double done = static_cast<double>(step) / static_cast<double>(steps);
  return rise * 0.5 * (1.0 + std::cos(std::numbers::pi * done));
}

class Distillation {
 public:
  /// Refers to all of them.
  Distillation(const diffusion::Model& model, std::span<const double> weights,
               const DistillOptions& options, StageProgress& progress)
      : unet_(model.unet), weights_(weights), options_(options), progress_(progress) {}

  void add(Course course) { courses_.push_back(std::move(course)); }

  /// Trains what is attached.
  void run(const AttachedPairs& attached) {
    // Factors are what was solved for, and shall not shrink.
    train::AdamW optimiser(attached.groups(options_.distill_rate),
                           {.beta2 = kPast, .weight_decay = 0.0});
    const torch::AutoGradMode gradients(true);
    for (std::int64_t step = 0; step < options_.distill_steps; ++step) {
      in_parts(batch(step), [&](const Calls& part) { error(part).backward(); });
      optimiser.step(rate_factor(step, options_.distill_steps));
      progress_.step("distilling", static_cast<std::size_t>(step + 1),
                     static_cast<std::size_t>(options_.distill_steps));
    }
  }

  /// By concept.
  std::vector<double> distances() {
    const torch::NoGradGuard no_grad;
    std::vector<double> result;
    for (const auto& course : courses_) {
      double& sum = result.emplace_back();
      in_parts(course.aside(), [&](const Calls& part) { sum += error(part).item<double>(); });
    }
    return result;
  }

  /// Of all concepts, as they count.
  double whole(const std::vector<double>& distances) const {
    return std::inner_product(distances.begin(), distances.end(), weights_.begin(), 0.0);
  }

 private:
  /// Some calls of every concept.
  Calls batch(std::int64_t step) const {
    const double sum = std::accumulate(weights_.begin(), weights_.end(), 0.0);
    const auto each = options_.distill_batch;
    std::vector<Calls> parts;
    for (std::size_t i = 0; i < courses_.size(); ++i) {
      auto generator = train::generator_for(i, kLessonDraw, static_cast<std::uint64_t>(step));
      parts.push_back(
          courses_[i].drawn(each, weights_[i] / sum / static_cast<double>(each), generator));
    }
    return cat(parts);
  }

  template <class Use>
  void in_parts(const Calls& calls, const Use& use) const {
    const auto all = calls.noisy.size(0), at_once = options_.distill_micro_batch;
    for (std::int64_t from = 0; from < all; from += at_once) {
      use(calls.narrow(from, std::min(at_once, all - from)));
    }
  }

  /// Σ over the calls of weight · mean square.
  Tensor error(const Calls& calls) {
    const auto says = unet_->forward(calls.noisy, calls.timestep, calls.text);
    const auto errors = (says.to(torch::kFloat32) - calls.said).square().flatten(1).mean(1);
    return (errors * calls.weight).sum();
  }

  nn::UNet2DConditionModel unet_;
  std::span<const double> weights_;
  const DistillOptions& options_;
  StageProgress& progress_;
  std::vector<Course> courses_;
};

/// The same values in memory of their own.
LayerUpdates copied(const LayerUpdates& updates) {
  LayerUpdates copies = updates;
  for (auto& [layer, update] : copies) {
    update.for_each_tensor([](Tensor& tensor) { tensor = tensor.detach().clone(); });
  }
  return copies;
}

}  // namespace

std::vector<Distance> distill(const diffusion::Model& model, const concepts::ConceptTokens& tokens,
                              std::span<const Lessons> lessons, std::span<const double> weights,
                              LayerUpdates& updates, const DistillOptions& options,
                              torch::ScalarType dtype, StageProgress& progress) {
  Distillation distillation(model, weights, options, progress);
  for (const auto& own : lessons) distillation.add(Course(model, tokens, own, dtype));
  auto trained = copied(pairs_of(updates));
  std::vector<double> before, after;
  {
    const AttachedPairs attached(model.unet, trained);
    before = distillation.distances();
    distillation.run(attached);
    after = distillation.distances();
  }
  if (distillation.whole(after) < distillation.whole(before)) {
    for (auto& [layer, update] : copied(trained)) updates[layer] = update;
  } else {
    after = before;
  }
  std::vector<Distance> result;
  for (std::size_t i = 0; i < before.size(); ++i) result.push_back({before[i], after[i]});
  return result;
}

}  // namespace mos::fuse
