#include "mos/fuse/fuse_concepts.h"

#include <fmt/core.h>
#include <torch/version.h>

#include <memory>

#include "mos/base/error.h"
#include "mos/base/log.h"
#include "mos/base/text.h"
#include "mos/diffusion/denoise.h"
#include "mos/fuse/capture.h"
#include "mos/fuse/dense_sources.h"
#include "mos/fuse/progress.h"
#include "mos/fuse/sources.h"
#include "mos/fuse/stage.h"

namespace mos::fuse {

using concepts::ConceptTokens;
using concepts::LayerUpdates;
using diffusion::StableDiffusion;

namespace {

constexpr double kGibibyte = 1024.0 * 1024.0 * 1024.0;

std::optional<torch::ScalarType> sampling_dtype(const std::string& name) {
  if (name == "float32") return torch::kFloat32;
  if (name == "bfloat16") return torch::kBFloat16;
  return std::nullopt;
}

/// A stage, for people.
const char* label(LayerKind kind) {
  if (kind == LayerKind::kTextEncoder) return "text encoder";
  return kind == LayerKind::kCrossAttention ? "cross-attention" : "U-Net";
}

/// A method that knows pairs of factors alone gets no other update.
void check_forms(const MethodInfo& method, const ConceptSource& source) {
  if (method.forms == Forms::kAny) return;
  for (const auto* updates : {&source.delta.text_encoder, &source.delta.unet}) {
    for (const auto& [layer, update] : *updates) {
      if (update.as_pair()) continue;
      throw Error(ErrorKind::kUsage,
                  fmt::format("the method {} merges LoRA pairs alone, and {} has {} for {}; take "
                              "another method, such as gradient or svd",
                              method.name, source.name, update.shapes(), layer));
    }
  }
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
  /// `options` are complete; refers to all of it.
  Fusion(StableDiffusion& model, const std::vector<ConceptSource>& sources,
         const FuseOptions& options, StageProgress progress)
      : model_(model),
        sources_(sources),
        options_(options),
        progress_(std::move(progress)),
        method_(make_method(options.method, options.of_method)),
        tokens_(add_words(model, sources)) {
    for (const auto& source : sources_) {
      for (const auto& word : source.delta.words) result_.delta.words.push_back(word);
      result_.report.concepts.push_back(source.name);
    }
    result_.report.method = options_.method;
  }

  FusionResult run() {
    fuse_text_encoder();
    fuse_cross_attention();
    fuse_unet();
    return std::move(result_);
  }

 private:
  FusionStage text_stage() const {
    StageConcepts concepts{.kind = LayerKind::kTextEncoder};
    for (const auto& source : sources_) {
      concepts.updates.push_back(source.delta.text_encoder);
      concepts.scales.push_back(source.text_encoder_scale);
    }
    return {*model_.text_encoder, std::move(concepts), merging()};
  }

  FusionStage unet_stage(LayerKind kind) const {
    StageConcepts concepts{.kind = kind};
    const bool text_fed = kind == LayerKind::kCrossAttention;
    for (const auto& source : sources_) {
      concepts.updates.push_back(concepts::filter(
          source.delta.unet,
          [text_fed](const std::string& layer) { return reads_text(layer) == text_fed; }));
      concepts.scales.push_back(source.unet_scale);
    }
    return {*model_.unet, std::move(concepts), merging()};
  }

  Merging merging() const {
    const auto weighting = method_info(options_.method).weighting;
    return {
        .method = method_.get(),
        .name = options_.method,
        .weights = concept_weights(weighting, options_.weights, sources_.size()),
        .patch_memory_bytes = static_cast<std::int64_t>(options_.record.conv_memory * kGibibyte)};
  }

  ConceptPrompts prompts_of(const ConceptSource& source) const {
    ConceptPrompts shown;
    shown.fit = options_.record.fit_text == "padded" ? TextFit::kPadded : TextFit::kWords;
    if (source.delta.words.empty()) shown.trigger = source.phrase;
    for (const auto& prompt : options_.record.prompts) {
      shown.prompts.push_back(replaced(prompt, concepts::kPlaceholder, source.prompt_phrase()));
    }
    return shown;
  }

  void fuse_text_encoder() {
    auto stage = text_stage();
    if (stage.empty()) return;
    const StageClock clock(stage_name(LayerKind::kTextEncoder));
    if (!stage.recorded().empty()) {
      for (std::size_t i = 0; i < sources_.size(); ++i) {
        const concepts::ScopedMerge merged(*model_.text_encoder, stage.updates(i), stage.scale(i),
                                           sources_[i].name);
        stage.add(capture_text_encoder(model_, tokens_, prompts_of(sources_[i]), stage.recorded()));
        progress_.step("recording the text encoder", i + 1, sources_.size());
      }
    }
    finish(stage, clock, *model_.text_encoder, result_.delta.text_encoder);
  }

  void fuse_cross_attention() {
    auto stage = unet_stage(LayerKind::kCrossAttention);
    if (stage.empty()) return;
    const StageClock clock(stage_name(LayerKind::kCrossAttention));
    if (!stage.recorded().empty()) {
      for (std::size_t i = 0; i < sources_.size(); ++i) {
        stage.add(
            capture_cross_attention(model_, tokens_, prompts_of(sources_[i]), stage.recorded()));
        progress_.step("recording the cross-attention", i + 1, sources_.size());
      }
    }
    finish(stage, clock, *model_.unet, result_.delta.unet);
  }

  void fuse_unet() {
    auto stage = unet_stage(LayerKind::kUNet);
    if (stage.empty()) return;
    tell_what_is_not_recorded(stage);
    const StageClock clock(stage_name(LayerKind::kUNet));
    if (!stage.recorded().empty()) {
      const auto noise = sampling_noise();
      for (std::size_t i = 0; i < sources_.size(); ++i) sample(stage, i, noise);
    }
    finish(stage, clock, *model_.unet, result_.delta.unet);
  }

  /// Records what the layers of `stage` read while concept number `i` is painted.
  void sample(FusionStage& stage, std::size_t i, const torch::Tensor& noise) {
    const auto& source = sources_[i];
    const concepts::ScopedMerge merged(*model_.unet, stage.updates(i), stage.scale(i), source.name);
    const SamplingRun run{.prompt = prompts_of(source).prompts.front(),
                          .noise = noise,
                          .steps = options_.record.steps,
                          .dtype = sampling_dtype(options_.record.dtype)};
    const auto steps_each = static_cast<std::size_t>(options_.record.samples * run.steps);
    const auto on_step = [&](std::int64_t done) {
      progress_.step("sampling " + source.name, i * steps_each + static_cast<std::size_t>(done),
                     sources_.size() * steps_each);
    };
    stage.add(
        capture_unet(model_, tokens_, run, stage.recorded(), on_step, progress_.cancel()).grams);
  }

  void tell_what_is_not_recorded(const FusionStage& stage) const {
    if (stage.beyond_memory().empty()) return;
    log::warn(
        fmt::format("{} convolutions are fused by weights, as the moments of their inputs do "
                    "not fit in conv_memory = {:g} GiB; the report names them",
                    stage.beyond_memory().size(), options_.record.conv_memory));
  }

  torch::Tensor sampling_noise() const {
    const auto& record = options_.record;
    const auto side =
        record.size > 0 ? record.size : model_.unet->config().sample_size * model_.downscale();
    auto generators = diffusion::picture_generators(record.seed, record.samples);
    return diffusion::initial_noise(generators, diffusion::latent_shape(model_, side, side));
  }

  /// Merges, writes the result into the network, and keeps it.
  void finish(const FusionStage& stage, const StageClock& clock, torch::nn::Module& network,
              LayerUpdates& fused) {
    const auto step = fmt::format("merging the {}", label(stage.kind()));
    std::size_t done = 0;
    auto pairs =
        stage.solve(result_.report, [&] { progress_.step(step, ++done, stage.layer_count()); });
    concepts::merge_lora(network, pairs, 1.0, "the fused update");
    fused.merge(pairs);
    result_.report.stages.push_back(clock.stop());
  }

  StableDiffusion& model_;
  const std::vector<ConceptSource>& sources_;
  const FuseOptions& options_;
  StageProgress progress_;
  std::unique_ptr<MergeMethod> method_;
  ConceptTokens tokens_;
  FusionResult result_;
};

/// Biases have no method of their own: they are summed with factors, or averaged.
std::vector<double> bias_shares(const FuseOptions& options, std::size_t concepts) {
  const auto weighting = method_info(options.method).weighting;
  if (weighting == Weighting::kImportance) {
    return concept_weights(Weighting::kFractions, options.weights, concepts);
  }
  return concept_weights(weighting, options.weights, concepts);
}

}  // namespace

FusionResult fuse_concepts(StableDiffusion& model, const std::vector<ConceptSource>& sources,
                           const FuseOptions& options, const ProgressCallback& progress,
                           const CancelToken* cancel) {
  const torch::NoGradGuard no_grad;
  check_options(options, sources.size());
  check_fit(model, sources);
  for (const auto& source : sources) check_forms(method_info(options.method), source);
  const auto complete = complete_options(options, sources.size());
  auto result = Fusion(model, sources, complete, StageProgress(progress, cancel)).run();
  finish_dense(model, sources, bias_shares(complete, sources.size()), result.delta);
  Json phrases = Json::array();
  for (const auto& source : sources) phrases.push_back(source.prompt_phrase());
  result.delta.metadata["concepts"] = phrases.dump();
  result.delta.metadata["kind"] = "fused";
  result.delta.metadata["options"] = write_options(complete).dump();
  result.delta.metadata["libtorch"] = TORCH_VERSION;
  return result;
}

}  // namespace mos::fuse
