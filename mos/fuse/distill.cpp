#include "mos/fuse/distill.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

#include "mos/concepts/lora.h"
#include "mos/nn/linear.h"
#include "mos/train/adamw.h"
#include "mos/train/draws.h"

namespace mos::fuse {

using concepts::LayerUpdates;
using torch::Tensor;

namespace {

constexpr std::int64_t kWarmup = 10;      // steps
constexpr std::uint64_t kLessonDraw = 1;  // purpose of the draws
constexpr double kPast = 0.99;            // of squared gradients: a few hundred steps are all

/// Updates in what is trained and what stays.
struct Parts {
  LayerUpdates pairs;  ///< In memory of their own, float32 on the network's device.
  LayerUpdates rest;   ///< What changes in biases, and what is no pair.

  Parts(const LayerUpdates& updates, torch::Device device) {
    for (const auto& [layer, update] : updates) {
      const auto pair = update.as_pair();
      if (!pair || !update.changes_weight()) {
        rest.emplace(layer, update);
        continue;
      }
      const auto copied = [&](const Tensor& factor) {
        return factor.detach().to(device, torch::kFloat32, /*non_blocking=*/false, /*copy=*/true);
      };
      pairs.emplace(layer,
                    concepts::LowRank{
                        .down = copied(pair->down), .up = copied(pair->up), .scale = pair->scale});
      if (const auto bias = update.bias_difference(); bias.defined()) {
        rest.emplace(layer,
                     concepts::Dense{.parts = {{concepts::LoraPart::kBiasDifference, bias}}});
      }
    }
  }

  /// `updates` with the pairs as they are now.
  LayerUpdates put_back(LayerUpdates updates) const {
    for (const auto& [layer, trained] : pairs) {
      auto pair = trained.low_rank();
      pair.down = pair.down.detach().cpu();
      pair.up = pair.up.detach().cpu();
      updates.at(layer) = with_bias(std::move(pair), updates.at(layer).bias_difference());
    }
    return updates;
  }
};

/// Pairs in a network that computes in another dtype and trains nothing else, for as long as this
/// lives.
class AttachedPairs {
 public:
  AttachedPairs(nn::UNet2DConditionModel unet, const LayerUpdates& pairs, torch::ScalarType dtype)
      : unet_(std::move(unet)) {
    for (auto& parameter : unet_->parameters()) {
      former_.push_back({parameter, parameter.detach(), parameter.requires_grad()});
      parameter.set_requires_grad(false);
      // Cast once, not at every call.
      parameter.set_data(parameter.detach().to(dtype));
    }
    concepts::attach_lora(*unet_, pairs, 1.0, "the fused update");
    nn::use_engine(*unet_, nn::Engine::kFused);
  }
  ~AttachedPairs() {
    nn::use_engine(*unet_, nn::Engine::kLibTorch);
    concepts::detach_lora(*unet_);
    for (auto& former : former_) {
      former.parameter.set_data(former.value);
      former.parameter.set_requires_grad(former.requires_grad);
    }
  }
  AttachedPairs(const AttachedPairs&) = delete;
  AttachedPairs& operator=(const AttachedPairs&) = delete;

  /// A group for each factor, as each has a rate of its own.
  std::vector<train::ParameterGroup> groups(double relative_rate) {
    std::vector<train::ParameterGroup> result;
    nn::for_each_lora_layer(*unet_, [&](const std::string& name, nn::LoraLayer& layer) {
      if (!layer.has_lora()) return;
      for (const auto& factor : {layer.lora_down()->weight, layer.lora_up()->weight}) {
        const auto size = factor.detach().square().mean().sqrt().item<double>();
        result.push_back({.parameters = {{name, factor}}, .rate = relative_rate * size});
      }
    });
    return result;
  }

 private:
  struct Former {
    Tensor parameter, value;
    bool requires_grad;
  };
  nn::UNet2DConditionModel unet_;
  std::vector<Former> former_;
};

/// Some calls of lessons, what was said then, and how much that counts.
struct Calls {
  Tensor noisy, timestep, said;
  nn::Conditioning text;
  Tensor weight;  ///< [B] float64

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
  Course(const DistillInputs& inputs, std::size_t concept_number)
      : number_(concept_number),
        weight_(inputs.weights[concept_number]),
        options_(torch::TensorOptions().dtype(inputs.dtype).device(inputs.model.device())),
        lessons_(inputs.lessons[concept_number]),
        taught_(lessons_.held_aside.logical_not().nonzero().squeeze(1)),
        aside_(lessons_.held_aside.nonzero().squeeze(1)) {
    for (const auto& prompt : lessons_.prompts) {
      texts_.push_back(
          concepts::encode_prompts(inputs.tokens, inputs.model.towers, std::span(&prompt, 1))
              .to(options_));
    }
  }

  std::size_t concept_number() const { return number_; }
  double weight() const { return weight_; }

  /// Some of what is taught.
  Calls drawn(std::int64_t count, double weight, at::Generator& generator) const {
    return calls(taught_.index_select(
                     0, torch::randint(0, taught_.size(0), {count}, generator, torch::kInt64)),
                 weight);
  }

  std::int64_t aside_count() const { return aside_.size(0); }
  /// Some of what is not, weighing 1 together.
  Calls aside(std::int64_t from, std::int64_t count) const {
    return calls(aside_.narrow(0, from, count), 1.0 / static_cast<double>(aside_count()));
  }

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
            .weight = torch::full({numbers.size(0)}, weight, options_.dtype(torch::kFloat64))};
  }

  std::size_t number_;
  double weight_;
  torch::TensorOptions options_;
  const Lessons& lessons_;
  std::vector<nn::Conditioning> texts_;  ///< By prompt.
  Tensor taught_, aside_;                ///< int64, numbers of calls.
};

/// Rises, then falls along half a cosine.
double rate_factor(std::int64_t step, std::int64_t steps) {
  const double rise = std::min(1.0, static_cast<double>(step + 1) / kWarmup);
  const double done = static_cast<double>(step) / static_cast<double>(steps);
  return rise * 0.5 * (1.0 + std::cos(std::numbers::pi * done));
}

/// The courses of all concepts that are taught.
class School {
 public:
  /// Refers to all of them.
  School(const DistillInputs& inputs, const DistillOptions& options, StageProgress& progress)
      : unet_(inputs.model.unet), seed_(inputs.seed), options_(options), progress_(progress) {
    for (std::size_t i = 0; i < inputs.lessons.size(); ++i) {
      if (inputs.lessons[i].count() > 0) courses_.emplace_back(inputs, i);
    }
    for (const auto& course : courses_) whole_weight_ += course.weight();
  }

  /// Trains what is attached.
  void teach(AttachedPairs& attached) {
    // Factors are what was solved for, and shall not shrink.
    train::AdamW optimiser(attached.groups(options_.distill_rate),
                           {.beta2 = kPast, .weight_decay = 0.0});
    const torch::AutoGradMode gradients(true);
    for (std::int64_t step = 0; step < options_.distill_steps; ++step) {
      const auto calls = batch(step);
      const auto all = calls.noisy.size(0), at_once = options_.distill_micro_batch;
      for (std::int64_t from = 0; from < all; from += at_once) {
        error(calls.narrow(from, std::min(at_once, all - from))).backward();
      }
      optimiser.step(rate_factor(step, options_.distill_steps));
      progress_.step("distilling", static_cast<std::size_t>(step + 1),
                     static_cast<std::size_t>(options_.distill_steps));
    }
  }

  /// By course.
  std::vector<double> distances() const {
    const torch::NoGradGuard no_grad;
    std::int64_t done = 0, whole = 0;
    for (const auto& course : courses_) whole += course.aside_count();
    std::vector<double> result;
    for (const auto& course : courses_) {
      double& sum = result.emplace_back();
      const auto at_once = options_.distill_micro_batch;
      for (std::int64_t from = 0; from < course.aside_count(); from += at_once) {
        const auto count = std::min(at_once, course.aside_count() - from);
        sum += error(course.aside(from, count)).item<double>();
        done += count;
        progress_.step("measuring", static_cast<std::size_t>(done),
                       static_cast<std::size_t>(whole));
      }
    }
    return result;
  }

  /// Of all concepts, as they count.
  double whole(const std::vector<double>& distances) const {
    double sum = 0.0;
    for (std::size_t i = 0; i < courses_.size(); ++i) sum += courses_[i].weight() * distances[i];
    return sum;
  }

  std::vector<Distance> told(const std::vector<double>& before,
                             const std::vector<double>& after) const {
    std::vector<Distance> result;
    for (std::size_t i = 0; i < courses_.size(); ++i) {
      result.push_back({.concept_number = courses_[i].concept_number(),
                        .weight = courses_[i].weight(),
                        .before = before[i],
                        .after = after[i]});
    }
    return result;
  }

 private:
  /// Some calls of every concept.
  Calls batch(std::int64_t step) const {
    const auto each = options_.distill_batch;
    std::vector<Calls> parts;
    for (std::size_t i = 0; i < courses_.size(); ++i) {
      const auto index = static_cast<std::uint64_t>(step) * courses_.size() + i;
      auto generator = train::generator_for(seed_, kLessonDraw, index);
      const auto share = courses_[i].weight() / whole_weight_;
      parts.push_back(courses_[i].drawn(each, share / static_cast<double>(each), generator));
    }
    return cat(parts);
  }

  /// Σ over the calls of weight · mean square, float64.
  Tensor error(const Calls& calls) const {
    auto unet = unet_;
    const auto says = unet->forward(calls.noisy, calls.timestep, calls.text);
    const auto errors =
        (says.to(torch::kFloat64) - calls.said.to(torch::kFloat64)).square().flatten(1).mean(1);
    return (errors * calls.weight).sum();
  }

  nn::UNet2DConditionModel unet_;
  std::uint64_t seed_;
  const DistillOptions& options_;
  StageProgress& progress_;
  std::vector<Course> courses_;
  double whole_weight_ = 0.0;
};

bool all_zero(const LayerUpdates& pairs) {
  return std::ranges::all_of(pairs, [](const auto& entry) {
    const auto& pair = entry.second.low_rank();
    return pair.down.count_nonzero().template item<std::int64_t>() == 0 &&
           pair.up.count_nonzero().template item<std::int64_t>() == 0;
  });
}

}  // namespace

Distilled distill(const DistillInputs& inputs, const LayerUpdates& updates,
                  const DistillOptions& options, StageProgress& progress) {
  const Parts parts(updates, inputs.model.device());
  if (all_zero(parts.pairs)) return {.updates = updates, .distances = {}};
  auto unet = inputs.model.unet;
  const concepts::ScopedMerge rest(*unet, parts.rest, 1.0, "the fused update");
  School school(inputs, options, progress);
  AttachedPairs attached(unet, parts.pairs, inputs.dtype);
  const auto before = school.distances();
  school.teach(attached);
  const auto after = school.distances();
  // Anything else than less is no gain, NaN among it.
  if (school.whole(after) < school.whole(before)) {
    return {.updates = parts.put_back(updates), .distances = school.told(before, after)};
  }
  return {.updates = updates, .distances = school.told(before, before)};
}

}  // namespace mos::fuse
