#include "mos/fuse/capture.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <utility>

#include "mos/base/error.h"
#include "mos/diffusion/denoise.h"
#include "mos/diffusion/scheduler.h"

namespace mos::fuse {

using concepts::ConceptTokens;
using diffusion::StableDiffusion;
using torch::Tensor;

namespace {

/// Layer endings that share their input, and what their site is called.
constexpr std::array<std::pair<std::string_view, std::string_view>, 8> kSharedInputs = {{
    {".attn1.to_q", ".attn1.to_qkv"},
    {".attn1.to_k", ".attn1.to_qkv"},
    {".attn1.to_v", ".attn1.to_qkv"},
    {".attn2.to_k", ".attn2.to_kv"},
    {".attn2.to_v", ".attn2.to_kv"},
    {".self_attn.q_proj", ".self_attn.qkv_proj"},
    {".self_attn.k_proj", ".self_attn.qkv_proj"},
    {".self_attn.v_proj", ".self_attn.qkv_proj"},
}};

struct TextStates {
  Tensor ids;     ///< [S]
  Tensor states;  ///< [S,C] after the final norm.
};

/// The L texts of every prompt (one where a word has one row only) through the text encoder, one
/// batch for each prompt: the texts of a prompt have one length.
std::vector<std::vector<TextStates>> encode_layerwise(const StableDiffusion& model,
                                                      const ConceptTokens& tokens,
                                                      const ConceptPrompts& shown) {
  const torch::NoGradGuard no_grad;
  const auto padding =
      shown.fit == TextFit::kPadded ? concepts::Padding::kToMaxLength : concepts::Padding::kNone;
  std::vector<std::vector<TextStates>> encoded;
  for (const auto& prompt : shown.prompts) {
    const auto ids = concepts::token_ids(model.tokenizer, tokens.bind(prompt), padding);
    if (ids.size(1) > model.tokenizer.model_max_length()) {
      throw Error(ErrorKind::kUsage,
                  fmt::format("the prompt \"{}\" has {} tokens, the text encoder takes {}", prompt,
                              ids.size(1), model.tokenizer.model_max_length()));
    }
    const auto states = diffusion::encode_text(model, ids);
    auto& texts = encoded.emplace_back();
    for (std::int64_t l = 0; l < ids.size(0); ++l) texts.push_back({ids[l], states[l]});
  }
  return encoded;
}

/// Rows of `text` at the concept's words and the end token: [n,C].
Tensor word_features(const TextStates& text, const ConceptTokens& tokens, std::int64_t eos) {
  std::vector<std::int64_t> positions;
  for (std::int64_t s = 0; s < text.ids.size(0); ++s) {
    const auto id = text.ids[s].item<std::int64_t>();
    if (id == eos || tokens.is_concept_token(id)) positions.push_back(s);
  }
  return text.states.index_select(0,
                                  torch::tensor(positions, torch::kInt64).to(text.states.device()));
}

}  // namespace

std::string input_site(std::string_view layer) {
  for (const auto& [ending, site] : kSharedInputs) {
    if (!layer.ends_with(ending)) continue;
    return std::string(layer.substr(0, layer.size() - ending.size())) + std::string(site);
  }
  return std::string(layer);
}

bool reads_text(std::string_view unet_layer) {
  return unet_layer.ends_with(".attn2.to_k") || unet_layer.ends_with(".attn2.to_v");
}

InputRecorder::InputRecorder(torch::nn::Module& model, const LayerNames& layers) {
  LayerNames missing = layers;
  nn::for_each_lora_layer(model, [&](const std::string& name, nn::LoraLayer& layer) {
    if (missing.erase(name) == 0) return;
    const auto [entry, fresh] = grams_.try_emplace(input_site(name), layer.in_features());
    if (!fresh) return;
    layer.input_observer = [gram = &entry->second](const Tensor& input) { gram->add(input); };
    observed_.push_back(&layer);
  });
  if (missing.empty()) return;
  for (auto* layer : observed_) layer->input_observer = nullptr;
  throw Error(ErrorKind::kMismatch, fmt::format("cannot record inputs: the model has no layer {}",
                                                fmt::join(missing, ", ")));
}

InputRecorder::~InputRecorder() {
  for (auto* layer : observed_) layer->input_observer = nullptr;
}

SiteGrams capture_text_encoder(const StableDiffusion& model, const ConceptTokens& tokens,
                               const ConceptPrompts& shown, const LayerNames& layers) {
  auto text_encoder = model.text_encoder;
  const InputRecorder recorder(*text_encoder, layers);
  encode_layerwise(model, tokens, shown);
  return recorder.grams();
}

SiteGrams capture_cross_attention(const StableDiffusion& model, const ConceptTokens& tokens,
                                  const ConceptPrompts& shown, const LayerNames& layers) {
  const auto encoded = encode_layerwise(model, tokens, shown);
  const auto names = model.unet->cross_attention_names();
  SiteGrams grams;
  for (const auto& layer : layers) {
    const auto attention = layer.substr(0, layer.rfind('.'));
    const auto found = std::find(names.begin(), names.end(), attention);
    if (found == names.end()) {
      throw Error(
          ErrorKind::kMismatch,
          fmt::format("cannot record inputs: the U-Net has no cross-attention {}", attention));
    }
    const auto site = input_site(layer);
    if (grams.contains(site)) continue;
    const auto l = static_cast<std::size_t>(found - names.begin());
    InputGram gram(model.unet->config().cross_attention_dim);
    for (const auto& texts : encoded) {
      const auto& text = texts[texts.size() == 1 ? 0 : l];
      gram.add(shown.fit == TextFit::kPadded
                   ? text.states
                   : word_features(text, tokens, model.tokenizer.eos_id()));
    }
    grams.emplace(site, std::move(gram));
  }
  return grams;
}

SampledInputs capture_unet(const StableDiffusion& model, const ConceptTokens& tokens,
                           const SamplingRun& run, const LayerNames& layers,
                           const std::function<void(std::int64_t)>& on_step,
                           const CancelToken* cancel) {
  const torch::NoGradGuard no_grad;
  auto text_encoder = model.text_encoder;
  auto unet = model.unet;
  const std::array prompts = {run.prompt};
  const auto context = concepts::encode_prompts(tokens, model.tokenizer, text_encoder, prompts);
  const auto scheduler = diffusion::make_scheduler("dpm++", model.scheduler_config);

  const InputRecorder recorder(*unet, layers);
  std::vector<Tensor> latents;
  std::int64_t done = 0;
  for (const auto& noise : run.noise.split(1)) {
    latents.push_back(diffusion::denoise(
        {.unet = unet,
         .scheduler = scheduler.get(),
         .steps = run.steps,
         .noise = noise,
         .cond = context,
         .guidance_scale = 1.0,
         .dtype = run.dtype},
        [&](const diffusion::DenoiseStep&) {
          ++done;
          if (on_step) on_step(done);
        },
        cancel));
  }
  return {.grams = recorder.grams(), .latents = torch::cat(latents)};
}

}  // namespace mos::fuse
