#include "mos/fuse/fuse_concepts.h"

#include <fmt/core.h>
#include <torch/version.h>

#include <algorithm>
#include <functional>
#include <list>
#include <memory>
#include <string_view>

#include "mos/base/error.h"
#include "mos/base/log.h"
#include "mos/base/text.h"
#include "mos/diffusion/denoise.h"
#include "mos/fuse/capture.h"
#include "mos/fuse/distill.h"
#include "mos/fuse/prepare.h"
#include "mos/fuse/progress.h"
#include "mos/fuse/sources.h"
#include "mos/fuse/stage.h"
#include "mos/nn/compute.h"
#include "mos/train/draws.h"

namespace mos::fuse {

using checkpoint::Part;
using concepts::ConceptTokens;
using concepts::LayerUpdates;
using diffusion::Model;

namespace {

constexpr std::uint64_t kLessonNoise = 2;  // purpose of the draws
constexpr double kGibibyte = 1024.0 * 1024.0 * 1024.0;

/// "auto" is the weights' own.
std::optional<torch::ScalarType> sampling_dtype(const std::string& name, torch::Device device) {
  if (name == "auto") return std::nullopt;
  return nn::dtype_named(name, device);
}

/// A stage, for people.
std::string_view label(const FusionStage& stage) {
  return stage.kind() == LayerKind::kCrossAttention ? "cross-attention" : name_of(stage.part());
}

/// One run of fusion: the paper's three stages in order.
class Fusion {
 public:
  /// Refers to the model.
  Fusion(Model& model, const std::vector<ConceptSource>& sources, const FuseOptions& options,
         StageProgress progress)
      : model_(model),
        progress_(std::move(progress)),
        method_(make_method(options.method, options.of_method)),
        sources_(with_kept(sources, *method_)),
        options_(weighing(options, sources_.size())),
        tokens_(add_words(model, sources_)) {
    for (const auto& source : sources_) {
      for (const auto& word : source.delta.words) result_.delta.words.push_back(word);
      result_.report.concepts.push_back(source.name);
    }
    result_.report.method = options_.method;
  }

  FusionResult run() {
    const auto lessons = give_lessons();  // by the own models, before anything is merged
    // In this sequence: keys and values read what the fused text encoder gives, the other layers
    // what the fused keys and values let through.
    for (const auto& tower : model_.towers) fuse_tower(tower);
    fuse_cross_attention();
    fuse_unet();
    if (!lessons.empty()) learn(lessons);
    return std::move(result_);
  }

 private:
  FusionStage text_stage(Part tower) const {
    return stage_of(tower, LayerKind::kTextEncoder, [](const std::string&) { return true; });
  }

  FusionStage unet_stage(LayerKind kind) const {
    const bool text_fed = kind == LayerKind::kCrossAttention;
    return stage_of(Part::kUNet, kind,
                    [text_fed](const std::string& layer) { return reads_text(layer) == text_fed; });
  }

  /// The layers of a network that `wanted` takes.
  FusionStage stage_of(Part part, LayerKind kind,
                       const std::function<bool(const std::string&)>& wanted) const {
    StageConcepts concepts{.part = part, .kind = kind, .updates = {}, .scales = {}};
    for (const auto& source : sources_) {
      concepts.updates.push_back(concepts::filter(source.delta.of(part), wanted));
      concepts.scales.push_back(source.scale(part));
    }
    return {*model_.network(part), std::move(concepts), merging()};
  }

  Merging merging() const {
    const auto weighting = method_info(options_.method).weighting;
    return {
        .method = method_.get(),
        .name = options_.method,
        .weights = concept_weights(weighting, options_.weights, sources_.size()),
        .bias_shares = bias_shares(options_, sources_.size()),
        .patch_memory_bytes = static_cast<std::int64_t>(options_.record.conv_memory * kGibibyte)};
  }

  ConceptPrompts prompts_of(const ConceptSource& source) const {
    ConceptPrompts shown;
    shown.fit = options_.record.fit_text;
    const auto needs = method_->needs();
    shown.kept_rows = needs.kept_rows;
    shown.words_to_end = needs.words_to_end;
    if (source.delta.words.empty()) shown.trigger = source.phrase;
    shown.prompts = shown_as(source, options_.record.prompts);
    return shown;
  }

  /// `prompts` with the concept in them.
  static std::vector<std::string> shown_as(const ConceptSource& source,
                                           std::vector<std::string> prompts) {
    for (auto& prompt : prompts) {
      prompt = replaced(prompt, concepts::kPlaceholder, source.prompt_phrase());
    }
    return prompts;
  }

  void fuse_tower(const diffusion::TextTower& tower) {
    auto stage = text_stage(tower.part);
    if (stage.empty()) return;
    tell_what_is_not_recorded(stage);
    const StageClock clock(stage.name());
    for (std::size_t i = 0; i < sources_.size() && !stage.recorded().empty(); ++i) {
      // Each concept is recorded with its own weights in the network, since X_i is what that one
      // reads.
      const concepts::ScopedMerge merged(*model_.network(tower.part), stage.updates(i),
                                         stage.scale(i), sources_[i].name);
      stage.add(capture_tower(tower, tokens_, prompts_of(sources_[i]), stage.recorded()));
      progress_.step("recording the text encoder", i + 1, sources_.size());
    }
    const auto again = [&](std::size_t i, const TwoStates& states, std::size_t round) {
      stage.set_again(i, capture_tower_again(tower, tokens_, prompts_of(sources_[i]), states,
                                             stage.recorded()));
      progress_.step(fmt::format("recording the text encoder again ({})", round), i + 1,
                     sources_.size());
    };
    repeat(stage, again);
    finish(stage, clock);
  }

  void fuse_cross_attention() {
    auto stage = unet_stage(LayerKind::kCrossAttention);
    if (stage.empty()) return;
    const StageClock clock(stage.name());
    const auto captions = method_->needs().captions;
    if (!captions.empty()) stage.set_captions(capture_captions(model_, captions));
    for (std::size_t i = 0; i < sources_.size() && !stage.recorded().empty(); ++i) {
      stage.add(
          capture_cross_attention(model_, tokens_, prompts_of(sources_[i]), stage.recorded()));
      progress_.step("recording the cross-attention", i + 1, sources_.size());
    }
    // Once more would be the same: what keys and values read does not depend on them.
    finish(stage, clock);
  }

  void fuse_unet() {
    auto stage = unet_stage(LayerKind::kUNet);
    if (stage.empty()) return;
    tell_what_is_not_recorded(stage);
    const StageClock clock(stage.name());
    for (std::size_t i = 0; i < sources_.size() && !stage.recorded().empty(); ++i) {
      const concepts::ScopedMerge merged(*model_.unet, stage.updates(i), stage.scale(i),
                                         sources_[i].name);
      const auto run = run_of(sources_[i]);
      stage.add(capture_unet(model_, tokens_, run, stage.recorded(),
                             hooks_for(run, i, "sampling " + sources_[i].name))
                    .grams);
    }
    const auto again = [&](std::size_t i, const TwoStates& states, std::size_t round) {
      const auto run = run_of(sources_[i]);
      const auto name = fmt::format("sampling {} again ({})", sources_[i].name, round);
      stage.set_again(i, capture_unet_again(model_, tokens_, run, states, stage.recorded(),
                                            hooks_for(run, i, name)));
    };
    repeat(stage, again);
    finish(stage, clock);
  }

  bool distills() const { return fuse::distills(method_->needs(), sources_); }

  torch::ScalarType distillation_dtype() const {
    return nn::dtype_named(options_.record.dtype, model_.device());
  }

  /// Noise of the pictures of one lesson prompt. Every lesson has its own: from the same few,
  /// nothing else would be learned about. And it is the lessons' own: a picture that somebody
  /// paints from the same seed was not taught.
  torch::Tensor lesson_noise(std::size_t concept_number, std::size_t prompt,
                             const DistillOptions& wanted) const {
    const auto pictures = static_cast<std::uint64_t>(wanted.lessons);
    const auto first = (concept_number * wanted.lesson_prompts.size() + prompt) * pictures;
    std::vector<at::Generator> generators;
    for (std::uint64_t i = 0; i < pictures; ++i) {
      generators.push_back(train::generator_for(options_.record.seed, kLessonNoise, first + i));
    }
    return diffusion::initial_noise(generators, picture_shape());
  }

  LessonPlan lessons_of(std::size_t concept_number, const DistillOptions& wanted) const {
    LessonPlan plan{.run = {.steps = wanted.lesson_steps,
                            .guidance_scale = wanted.lesson_guidance,
                            .dtype = distillation_dtype(),
                            .at_once = wanted.lessons_at_once()},
                    .prompts = shown_as(sources_[concept_number], wanted.lesson_prompts)};
    for (std::size_t p = 0; p < plan.prompts.size(); ++p) {
      plan.noise.push_back(lesson_noise(concept_number, p, wanted));
    }
    return plan;
  }

  /// Of each concept, from its own model as a whole; none of those that do not count.
  std::vector<Lessons> give_lessons() {
    std::vector<Lessons> lessons;
    if (!distills()) return lessons;
    const auto wanted = *method_->needs().distillation;
    const auto weights = merging().weights;
    for (const auto& source : sources_) {
      for (const auto& prompt : shown_as(source, wanted.lesson_prompts)) {
        check_length(model_.towers.front(), tokens_, prompt);
      }
    }
    const StageClock clock("lessons");
    for (std::size_t i = 0; i < sources_.size(); ++i) {
      auto& own = lessons.emplace_back();
      if (weights[i] == 0.0) continue;
      const auto& source = sources_[i];
      std::vector<std::unique_ptr<concepts::ScopedMerge>> merged;
      for (const auto& [part, updates] : source.delta.updates) {
        merged.push_back(std::make_unique<concepts::ScopedMerge>(*model_.network(part), updates,
                                                                 source.scale(part), source.name));
      }
      const auto plan = lessons_of(i, wanted);
      const auto steps = static_cast<std::size_t>(plan.steps());
      own = collect_lessons(model_, tokens_, plan,
                            {.after_step =
                                 [&](std::int64_t done) {
                                   progress_.step("painting lessons",
                                                  i * steps + static_cast<std::size_t>(done),
                                                  sources_.size() * steps);
                                 },
                             .cancel = progress_.cancel()});
    }
    result_.report.stages.push_back(clock.stop());
    return lessons;
  }

  /// All of the U-Net's layers together, from where each was merged by itself.
  void learn(const std::vector<Lessons>& lessons) {
    auto& updates = result_.delta.updates[Part::kUNet];
    until_taught_.clear();
    const StageClock clock("distillation");
    const auto weights = merging().weights;
    auto distilled = distill({.model = model_,
                              .tokens = tokens_,
                              .lessons = lessons,
                              .weights = weights,
                              .dtype = distillation_dtype(),
                              .seed = options_.record.seed},
                             updates, *method_->needs().distillation, progress_);
    updates = std::move(distilled.updates);
    result_.report.distances = std::move(distilled.distances);
    concepts::merge_lora(*model_.unet, updates, 1.0, fused_update());
    result_.report.stages.push_back(clock.stop());
  }

  SamplingRun run_of(const ConceptSource& source) const {
    return {.prompt = prompts_of(source).prompts.front(),
            .noise = sampling_noise(),
            .steps = options_.record.steps,
            .guidance_scale = options_.record.guidance_scale,
            .dtype = sampling_dtype(options_.record.dtype, model_.device()),
            .kept_rows = method_->needs().kept_rows};
  }

  SamplingHooks hooks_for(const SamplingRun& run, std::size_t i, const std::string& name) {
    const auto steps_each = static_cast<std::size_t>(options_.record.samples * run.steps);
    return {.after_step =
                [this, i, steps_each, name](std::int64_t done) {
                  progress_.step(name, i * steps_each + static_cast<std::size_t>(done),
                                 sources_.size() * steps_each);
                },
            .cancel = progress_.cancel()};
  }

  /// Records inputs on what was merged from those before, as often as the method asks for:
  /// `again` does it for one concept.
  template <class Again>
  void repeat(const FusionStage& stage, const Again& again) {
    const auto rounds = stage.recorded().empty() ? 0 : method_->needs().rounds;
    for (std::int64_t round = 1; round <= rounds; ++round) {
      // Of all concepts before any is recorded again: each round starts from one and the same
      // model.
      const auto merged = solve(stage, nullptr);
      for (std::size_t i = 0; i < sources_.size(); ++i) {
        again(i,
              TwoStates{.own = {&stage.updates(i), stage.scale(i), sources_[i].name},
                        .merged = {&merged, 1.0, "the merged update"}},
              static_cast<std::size_t>(round));
      }
    }
  }

  void tell_what_is_not_recorded(const FusionStage& stage) const {
    if (!stage.beyond_memory().empty()) {
      log::warn(
          fmt::format("{} convolutions are fused by weights, as the moments of their inputs "
                      "do not fit in conv_memory = {:g} GiB; the report names them",
                      stage.beyond_memory().size(), options_.record.conv_memory));
    }
    if (method_->needs().inputs == Recorded::kKeysAndValues) {
      log::warn(
          fmt::format("{} merges keys and values of cross-attention alone: {} layers of the "
                      "{} are fused by weights",
                      options_.method, stage.layer_count(), label(stage)));
    }
  }

  std::vector<std::int64_t> picture_shape() const {
    const auto& record = options_.record;
    const auto side =
        record.size > 0 ? record.size : model_.unet->config().sample_size * model_.downscale();
    return diffusion::latent_shape(model_, side, side);
  }

  torch::Tensor sampling_noise() const {
    // The same noise for every concept: what differs between their inputs is theirs.
    auto generators = diffusion::picture_generators(options_.record.seed, options_.record.samples);
    return diffusion::initial_noise(generators, picture_shape());
  }

  LayerUpdates solve(const FusionStage& stage, FusionReport* report) {
    const auto step = fmt::format("merging the {}", label(stage));
    std::size_t done = 0;
    return stage.solve(report, [&] { progress_.step(step, ++done, stage.layer_count()); });
  }

  /// Merges, writes the result into the network, and keeps it.
  void finish(const FusionStage& stage, const StageClock& clock) {
    auto updates = solve(stage, &result_.report);
    auto& network = *model_.network(stage.part());
    if (stage.part() == Part::kUNet && distills()) {
      until_taught_.push_front(
          std::make_unique<concepts::ScopedMerge>(network, updates, 1.0, fused_update()));
    } else {
      concepts::merge_lora(network, updates, 1.0, fused_update());
    }
    result_.delta.updates[stage.part()].merge(updates);
    result_.report.stages.push_back(clock.stop());
  }

  std::string fused_update() const {
    return fmt::format("the fused update of {}", listed(result_.report.concepts));
  }

  Model& model_;
  StageProgress progress_;
  std::unique_ptr<MergeMethod> method_;
  std::vector<ConceptSource> sources_;
  FuseOptions options_;
  ConceptTokens tokens_;
  FusionResult result_;
  /// What was merged of the U-Net and is to be taught; the last one first, as they end.
  std::list<std::unique_ptr<concepts::ScopedMerge>> until_taught_;
};

}  // namespace

bool distills(const Needs& needs, const std::vector<ConceptSource>& sources) {
  if (!needs.distillation || needs.distillation->distill_steps == 0) return false;
  const bool changes_unet = std::ranges::any_of(
      sources, [](const ConceptSource& source) { return !source.delta.of(Part::kUNet).empty(); });
  return changes_unet && sources.size() + needs.kept_phrases.size() > 1;
}

namespace {

/// Whether the model's schedule has as many steps as are asked for.
void check_steps(const Model& model, const FuseOptions& options) {
  const auto needs = make_method(options.method, options.of_method)->needs();
  const auto scheduler = sampler_of(model);
  if (needs.inputs == Recorded::kEverything) scheduler->set_timesteps(options.record.steps);
  if (needs.distillation) scheduler->set_timesteps(needs.distillation->lesson_steps);
}

}  // namespace

void check_concepts(Model& model, const std::vector<ConceptSource>& sources,
                    const FuseOptions& options) {
  check_options(options, sources.size());
  check_steps(model, options);
  check_fit(model, sources);
  for (const auto& source : sources) check_forms(method_info(options.method), source);
}

FusionResult fuse_concepts(Model& model, const std::vector<ConceptSource>& sources,
                           const FuseOptions& options, const ProgressCallback& progress,
                           const CancelToken* cancel) {
  const torch::NoGradGuard no_grad;
  check_concepts(model, sources, options);  // before minutes of recording
  auto result = Fusion(model, sources, options, StageProgress(progress, cancel)).run();
  Json phrases = Json::array();
  for (const auto& source : sources) phrases.push_back(source.prompt_phrase());
  result.delta.metadata["concepts"] = phrases.dump();
  result.delta.metadata["kind"] = "fused";
  result.delta.metadata["options"] = write_options(options).dump();
  result.delta.metadata["libtorch"] = TORCH_VERSION;
  return result;
}

}  // namespace mos::fuse
