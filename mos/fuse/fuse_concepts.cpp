#include "mos/fuse/fuse_concepts.h"

#include <fmt/core.h>
#include <torch/version.h>

#include <algorithm>
#include <limits>
#include <set>

#include "mos/base/error.h"
#include "mos/base/log.h"
#include "mos/base/text.h"
#include "mos/diffusion/denoise.h"
#include "mos/fuse/capture.h"
#include "mos/fuse/dense_sources.h"
#include "mos/fuse/sources.h"
#include "mos/fuse/stage.h"
#include "mos/fuse/weight_fusion.h"

namespace mos::fuse {

using concepts::ConceptTokens;
using concepts::LayerUpdates;
using diffusion::StableDiffusion;

namespace {

constexpr double kGibibyte = 1024.0 * 1024.0 * 1024.0;
constexpr double kMaxMemory = 1e6;  ///< GiB, far below what overflows.

void require(bool holds, const std::string& message) {
  if (!holds) throw Error(ErrorKind::kUsage, message);
}

std::optional<torch::ScalarType> sampling_dtype(const std::string& name) {
  if (name == "float32") return torch::kFloat32;
  if (name == "bfloat16") return torch::kBFloat16;
  return std::nullopt;
}

/// Every LoRA finds its layer, before any work is done.
void check_fit(StableDiffusion& model, const std::vector<ConceptSource>& sources) {
  for (const auto& source : sources) {
    concepts::find_layers(*model.text_encoder, source.delta.text_encoder,
                          source.name + " (text encoder)");
    concepts::find_layers(*model.unet, source.delta.unet, source.name + " (U-Net)");
  }
}

ConceptTokens add_words(StableDiffusion& model, const std::vector<ConceptSource>& sources) {
  auto tokens = concepts::known_words(model);
  std::vector<std::string> taken;
  for (const auto& word : tokens.words()) taken.push_back(word.word);
  check_words(sources, taken);
  std::vector<concepts::ConceptWord> words;
  for (const auto& source : sources) {
    words.insert(words.end(), source.delta.words.begin(), source.delta.words.end());
  }
  tokens.add(words, model.tokenizer, model.text_encoder);
  if (!tokens.words().empty()) model.concepts = tokens.to_json();
  return tokens;
}

/// One run of fusion: the paper's three stages in order.
class Fusion {
 public:
  Fusion(StableDiffusion& model, const std::vector<ConceptSource>& sources,
         const FuseOptions& options, const ProgressCallback& progress, const CancelToken* cancel)
      : model_(model),
        sources_(sources),
        options_(options),
        progress_(progress),
        cancel_(cancel),
        tokens_(add_words(model, sources)) {
    for (const auto& source : sources_) {
      for (const auto& word : source.delta.words) result_.delta.words.push_back(word);
      result_.report.concepts.push_back(source.name);
    }
  }

  FusionResult by_gradients() {
    fuse_text_encoder();
    fuse_cross_attention();
    fuse_unet();
    return std::move(result_);
  }

  FusionResult by_weights() {
    const StageClock clock("weight_fusion");
    fuse_weights("text_encoder", *model_.text_encoder, result_.delta.text_encoder,
                 [](const ConceptSource& s) {
                   return std::pair(s.delta.text_encoder, s.text_encoder_scale);
                 });
    fuse_weights("unet", *model_.unet, result_.delta.unet,
                 [](const ConceptSource& s) { return std::pair(s.delta.unet, s.unet_scale); });
    result_.report.stages.push_back(clock.stop());
    return std::move(result_);
  }

 private:
  FusionStage text_stage() const {
    std::vector<LayerUpdates> updates;
    std::vector<double> scales;
    for (const auto& source : sources_) {
      updates.push_back(source.delta.text_encoder);
      scales.push_back(source.text_encoder_scale);
    }
    return {*model_.text_encoder, std::move(updates), std::move(scales),
            stage_options("text_encoder", /*text_fed=*/true)};
  }

  FusionStage unet_stage(const char* name, bool text_fed) const {
    std::vector<LayerUpdates> updates;
    std::vector<double> scales;
    for (const auto& source : sources_) {
      updates.push_back(concepts::filter(source.delta.unet, [text_fed](const std::string& layer) {
        return reads_text(layer) == text_fed;
      }));
      scales.push_back(source.unet_scale);
    }
    return {*model_.unet, std::move(updates), std::move(scales), stage_options(name, text_fed)};
  }

  StageOptions stage_options(const char* name, bool text_fed) const {
    return {.name = name,
            .solver = options_.solver == "lbfgs" ? Solver::kLbfgs : Solver::kRidge,
            .relative_ridge = text_fed ? options_.text_ridge : options_.unet_ridge,
            .prior_share = prior_share(),
            .iterations = text_fed ? options_.text_iterations : options_.unet_iterations,
            .patch_memory_bytes = static_cast<std::int64_t>(options_.conv_memory * kGibibyte)};
  }

  double prior_share() const {
    if (options_.ridge_towards == "base") return 0.0;
    return options_.ridge_towards == "sum" ? 1.0 : 1.0 / static_cast<double>(sources_.size());
  }

  ConceptPrompts prompts_of(const ConceptSource& source) const {
    ConceptPrompts shown;
    shown.fit = options_.fit_text == "padded" ? TextFit::kPadded : TextFit::kWords;
    if (source.delta.words.empty()) shown.trigger = source.phrase;
    for (const auto& prompt : options_.prompts) {
      shown.prompts.push_back(replaced(prompt, concepts::kPlaceholder, source.prompt_phrase()));
    }
    return shown;
  }

  void fuse_text_encoder() {
    auto stage = text_stage();
    if (stage.layers().empty()) return;
    const StageClock clock("text_encoder");
    for (std::size_t i = 0; i < sources_.size(); ++i) {
      step("text encoder", i, sources_.size());
      const concepts::ScopedMerge merged(*model_.text_encoder, stage.updates(i), stage.scale(i),
                                         sources_[i].name);
      stage.add(capture_text_encoder(model_, tokens_, prompts_of(sources_[i]), stage.layers()));
    }
    finish(stage, clock, *model_.text_encoder, result_.delta.text_encoder);
  }

  void fuse_cross_attention() {
    auto stage = unet_stage("cross_attention", /*text_fed=*/true);
    if (stage.layers().empty()) return;
    const StageClock clock("cross_attention");
    for (std::size_t i = 0; i < sources_.size(); ++i) {
      step("cross-attention", i, sources_.size());
      stage.add(capture_cross_attention(model_, tokens_, prompts_of(sources_[i]), stage.layers()));
    }
    finish(stage, clock, *model_.unet, result_.delta.unet);
  }

  void fuse_unet() {
    auto stage = unet_stage("unet", /*text_fed=*/false);
    if (stage.empty()) return;
    tell_averaged(stage);
    const StageClock clock("unet");
    const auto noise = sampling_noise();
    const auto steps_each = static_cast<std::size_t>(options_.samples * options_.steps);
    for (std::size_t i = 0; i < sources_.size(); ++i) {
      const concepts::ScopedMerge merged(*model_.unet, stage.updates(i), stage.scale(i),
                                         sources_[i].name);
      const SamplingRun run{.prompt = prompts_of(sources_[i]).prompts.front(),
                            .noise = noise,
                            .steps = options_.steps,
                            .dtype = sampling_dtype(options_.dtype)};
      const auto on_step = [&](std::int64_t done) {
        step("sampling " + sources_[i].name, i * steps_each + static_cast<std::size_t>(done) - 1,
             sources_.size() * steps_each);
      };
      stage.add(capture_unet(model_, tokens_, run, stage.layers(), on_step, cancel_).grams);
    }
    finish(stage, clock, *model_.unet, result_.delta.unet);
  }

  void tell_averaged(const FusionStage& stage) const {
    if (stage.averaged().empty()) return;
    log::warn(
        fmt::format("{} convolutions are fused by weights, as the moments of their inputs do "
                    "not fit in conv_memory = {:g} GiB; the report names them",
                    stage.averaged().size(), options_.conv_memory));
  }

  torch::Tensor sampling_noise() const {
    const auto side =
        options_.size > 0 ? options_.size : model_.unet->config().sample_size * model_.downscale();
    auto generators = diffusion::picture_generators(options_.seed, options_.samples);
    return diffusion::initial_noise(generators, diffusion::latent_shape(model_, side, side));
  }

  /// Solves, writes the result into the network, and keeps it.
  void finish(const FusionStage& stage, const StageClock& clock, torch::nn::Module& network,
              LayerUpdates& fused) {
    if (cancel_ != nullptr) cancel_->check();
    auto updates = stage.solve(result_.report);
    concepts::merge_lora(network, updates, 1.0, "the fused update");
    fused.merge(updates);
    result_.report.stages.push_back(clock.stop());
  }

  template <class LoraOf>
  void fuse_weights(const char* stage, torch::nn::Module& network, LayerUpdates& fused,
                    const LoraOf& lora_of) {
    const auto weights = normalized_weights(options_.weights, sources_.size());
    std::map<std::string, std::vector<LowRankUpdate>> updates;
    for (std::size_t i = 0; i < sources_.size(); ++i) {
      const auto [of_concept, scale] = lora_of(sources_[i]);
      for (const auto& [layer, update] : of_concept) {
        updates.try_emplace(layer, sources_.size()).first->second[i] =
            scaled_update(update.low_rank(), scale);
      }
    }
    nn::for_each_lora_layer(network, [&](const std::string& name, nn::LoraLayer& layer) {
      const auto found = updates.find(name);
      if (found == updates.end()) return;
      const auto update = weighted_sum(found->second, weights);
      fused.emplace(name, plain_lora(update, layer.weight.sizes()));
      result_.report.layers.push_back({.stage = stage, .layer = name, .rank = update.down.size(0)});
    });
    concepts::merge_lora(network, fused, 1.0, "the fused update");
  }

  void step(const std::string& stage, std::size_t done, std::size_t total) const {
    if (cancel_ != nullptr) cancel_->check();
    if (!progress_) return;
    progress_({.stage = stage,
               .step = static_cast<std::int64_t>(done) + 1,
               .total = static_cast<std::int64_t>(total),
               .loss = std::numeric_limits<double>::quiet_NaN()});
  }

  StableDiffusion& model_;
  const std::vector<ConceptSource>& sources_;
  const FuseOptions& options_;
  const ProgressCallback& progress_;
  const CancelToken* cancel_;
  ConceptTokens tokens_;
  FusionResult result_;
};

}  // namespace

FuseOptions complete_options(FuseOptions options, std::size_t concepts) {
  constexpr std::size_t kFew = 4;
  const bool few = concepts <= kFew;
  if (options.text_ridge < 0.0) options.text_ridge = few ? 10.0 : 0.3;
  if (options.unet_ridge < 0.0) options.unet_ridge = few ? 1.0 : 0.01;
  return options;
}

void check_options(const FuseOptions& options, std::size_t concepts) {
  const auto one_of = [](const std::string& value, std::initializer_list<const char*> allowed) {
    return std::find(allowed.begin(), allowed.end(), value) != allowed.end();
  };
  require(concepts > 0, "there is no concept to fuse; name at least one concept file");
  require(one_of(options.method, {"gradient", "weight"}),
          fmt::format("method must be gradient or weight, not \"{}\"", options.method));
  require(one_of(options.solver, {"exact", "lbfgs"}),
          fmt::format("solver must be exact or lbfgs, not \"{}\"", options.solver));
  require(one_of(options.dtype, {"auto", "float32", "bfloat16"}),
          fmt::format("dtype must be auto, float32 or bfloat16, not \"{}\"", options.dtype));
  require(one_of(options.fit_text, {"words", "padded"}),
          fmt::format("fit_text must be words or padded, not \"{}\"", options.fit_text));
  require(
      one_of(options.ridge_towards, {"average", "sum", "base"}),
      fmt::format("ridge_towards must be average, sum or base, not \"{}\"", options.ridge_towards));
  for (const double ridge : {options.text_ridge, options.unet_ridge}) {
    require(ridge < 1e6 && (ridge >= 0.0 || ridge == -1.0),
            fmt::format("a ridge must be a number from 0 on, or -1, not {}", ridge));
  }
  require(!options.prompts.empty(), "prompts must name at least one prompt with <TOK> in it");
  for (const auto& prompt : options.prompts) {
    require(prompt.find(concepts::kPlaceholder) != std::string::npos,
            fmt::format("the prompt \"{}\" lacks <TOK>, where the concept's words go", prompt));
  }
  require(options.samples > 0 && options.steps > 0,
          "samples and steps must be whole numbers from 1 on");
  require(options.size >= 0, "size must be a picture side in pixels, or 0 for the base model's");
  require(options.conv_memory >= 0.0 && options.conv_memory < kMaxMemory,
          fmt::format("conv_memory must be GiB from 0 on, not {}", options.conv_memory));
  require(options.text_iterations > 0 && options.unet_iterations > 0,
          "the iterations of lbfgs must be whole numbers from 1 on");
  require(options.weights.empty() || options.method == "weight",
          "weights are for weight fusion; add method weight or leave them out");
  normalized_weights(options.weights, concepts);
}

FusionResult fuse_concepts(StableDiffusion& model, const std::vector<ConceptSource>& sources,
                           const FuseOptions& options, const ProgressCallback& progress,
                           const CancelToken* cancel) {
  const torch::NoGradGuard no_grad;
  check_options(options, sources.size());
  check_fit(model, sources);
  const auto complete = complete_options(options, sources.size());
  const auto pairs = factored_sources(model, sources);
  Fusion fusion(model, pairs, complete, progress, cancel);
  auto result = options.method == "weight" ? fusion.by_weights() : fusion.by_gradients();
  finish_dense(model, sources, normalized_weights(options.weights, sources.size()), result.delta);
  Json phrases = Json::array();
  for (const auto& source : sources) phrases.push_back(source.prompt_phrase());
  result.delta.metadata["concepts"] = phrases.dump();
  result.delta.metadata["kind"] = "fused";
  result.delta.metadata["options"] = write_options(complete).dump();
  result.delta.metadata["libtorch"] = TORCH_VERSION;
  return result;
}

}  // namespace mos::fuse
