#include "mos/fuse/capture.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <utility>

#include "mos/base/error.h"
#include "mos/diffusion/denoise.h"

namespace mos::fuse {

using concepts::ConceptTokens;
using diffusion::Model;
using diffusion::TextTower;
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

/// The L texts of every prompt (one where a word has one row only) as `towers` read them, one batch
/// for each prompt: the texts of a prompt have one length.
std::vector<std::vector<TextStates>> encode_layerwise(std::span<const TextTower> towers,
                                                      const ConceptTokens& tokens,
                                                      const ConceptPrompts& shown) {
  const torch::NoGradGuard no_grad;
  const auto& tokenizer = towers.front().tokenizer;
  const auto padding =
      shown.fit == TextFit::kPadded ? diffusion::Padding::kToMaxLength : diffusion::Padding::kNone;
  std::vector<std::vector<TextStates>> encoded;
  for (const auto& prompt : shown.prompts) {
    const auto texts = tokens.bind(prompt);
    check_length(towers.front(), tokens, prompt);
    const auto ids = diffusion::token_ids(tokenizer, texts, padding);
    const auto states = diffusion::encode_texts(towers, texts, padding).context;
    auto& of_prompt = encoded.emplace_back();
    for (std::int64_t l = 0; l < ids.size(0); ++l) of_prompt.push_back({ids[l], states[l]});
  }
  return encoded;
}

/// Token ids of `text` without start and end.
std::vector<std::int64_t> inner_ids(const text::CLIPTokenizer& tokenizer, const std::string& text) {
  const auto ids = tokenizer.encode(text);
  return {ids.begin() + 1, ids.end() - 1};
}

/// Marks every place in `ids` where `sequence` (not empty) stands; how often that is.
std::int64_t mark_sequence(const std::vector<std::int64_t>& ids,
                           const std::vector<std::int64_t>& sequence, std::vector<bool>& marks) {
  std::int64_t count = 0;
  for (auto at = ids.begin(); at != ids.end(); ++at, ++count) {
    at = std::search(at, ids.end(), sequence.begin(), sequence.end());
    if (at == ids.end()) break;
    std::fill_n(marks.begin() + (at - ids.begin()), sequence.size(), true);
  }
  return count;
}

/// Marks all that is between the first and the last mark.
void fill_between(std::vector<bool>& marks) {
  const auto first = std::find(marks.begin(), marks.end(), true);
  const auto end = std::find(marks.rbegin(), marks.rend(), true).base();
  if (first < end) std::fill(first, end, true);
}

/// Which keys and values of a text are fitted: the concept's words and the end token, which sums
/// the text up, and what is between them if that is asked for. A concept of plain words has its
/// trigger in place of words of its own.
class FittedPositions {
 public:
  FittedPositions(const Model& model, const ConceptTokens& tokens, const ConceptPrompts& shown)
      : tokens_(tokens),
        end_(model.tokenizer().eos_id()),
        trigger_(shown.trigger.empty() ? std::vector<std::int64_t>()
                                       : inner_ids(model.tokenizer(), shown.trigger)),
        trigger_text_(shown.trigger),
        words_to_end_(shown.words_to_end) {}

  /// Rows of `text` there: [n,C].
  Tensor features(const TextStates& text) const {
    const std::vector<std::int64_t> ids(text.ids.data_ptr<std::int64_t>(),
                                        text.ids.data_ptr<std::int64_t>() + text.ids.numel());
    std::vector<bool> marks(ids.size());
    for (std::size_t s = 0; s < ids.size(); ++s) {
      marks[s] = ids[s] == end_ || (trigger_.empty() && tokens_.is_concept_token(ids[s]));
    }
    if (!trigger_.empty() && mark_sequence(ids, trigger_, marks) == 0) {
      throw Error(ErrorKind::kUsage,
                  fmt::format("a prompt to fit on lacks the trigger words \"{}\" as words of their "
                              "own; put blanks around <TOK>",
                              trigger_text_));
    }
    if (words_to_end_) fill_between(marks);
    std::vector<std::int64_t> positions;
    for (std::size_t s = 0; s < marks.size(); ++s) {
      if (marks[s]) positions.push_back(static_cast<std::int64_t>(s));
    }
    const auto index = torch::tensor(positions, torch::kInt64).to(text.states.device());
    return text.states.index_select(0, index);
  }

 private:
  const ConceptTokens& tokens_;
  std::int64_t end_;
  std::vector<std::int64_t> trigger_;
  std::string trigger_text_;
  bool words_to_end_;
};

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

std::map<std::string, nn::LoraLayer*> observed_sites(torch::nn::Module& model,
                                                     const LayerNames& layers) {
  auto missing = layers;
  std::map<std::string, nn::LoraLayer*> observed;
  nn::for_each_lora_layer(model, [&](const std::string& name, nn::LoraLayer& layer) {
    if (missing.erase(name) > 0) observed.try_emplace(input_site(name), &layer);
  });
  if (missing.empty()) return observed;
  throw Error(ErrorKind::kMismatch, fmt::format("cannot record inputs: the model has no layer {}",
                                                fmt::join(missing, ", ")));
}

InputRecorder::InputRecorder(torch::nn::Module& model, const LayerNames& layers,
                             std::int64_t kept_rows) {
  for (const auto& [site, layer] : observed_sites(model, layers)) {
    auto& gram = grams_.try_emplace(site, layer->in_features(), kept_rows).first->second;
    layer->input_observer = [this, &gram](const Tensor& input) { gram.add(half_.of(input)); };
    observed_.push_back(layer);
  }
}

InputRecorder::~InputRecorder() {
  for (auto* layer : observed_) layer->input_observer = nullptr;
}

void check_length(const TextTower& tower, const ConceptTokens& tokens, const std::string& prompt) {
  const auto& tokenizer = tower.tokenizer;
  const auto ids = diffusion::token_ids(tokenizer, tokens.bind(prompt), diffusion::Padding::kNone);
  if (ids.size(1) <= tokenizer.model_max_length()) return;
  throw Error(ErrorKind::kUsage,
              fmt::format("the prompt \"{}\" has {} tokens, the text encoder takes {}", prompt,
                          ids.size(1), tokenizer.model_max_length()));
}

void run_tower(const TextTower& tower, const ConceptTokens& tokens, const ConceptPrompts& shown) {
  encode_layerwise(std::span(&tower, 1), tokens, shown);
}

SiteGrams capture_tower(const TextTower& tower, const ConceptTokens& tokens,
                        const ConceptPrompts& shown, const LayerNames& layers) {
  auto encoder = tower.encoder;
  const InputRecorder recorder(*encoder, layers, shown.kept_rows);
  run_tower(tower, tokens, shown);
  return recorder.grams();
}

SiteGrams capture_cross_attention(const Model& model, const ConceptTokens& tokens,
                                  const ConceptPrompts& shown, const LayerNames& layers) {
  const auto encoded = encode_layerwise(model.towers, tokens, shown);
  const auto& slices = model.unet->text_slices().of_layer;
  const auto names = model.unet->cross_attention_names();
  const FittedPositions fitted(model, tokens, shown);
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
    const auto l =
        static_cast<std::size_t>(slices[static_cast<std::size_t>(found - names.begin())]);
    InputGram gram(model.unet->config().cross_attention_dim, shown.kept_rows);
    for (const auto& texts : encoded) {
      const auto& text = texts[texts.size() == 1 ? 0 : l];
      gram.add(shown.fit == TextFit::kPadded ? text.states : fitted.features(text));
    }
    grams.emplace(site, std::move(gram));
  }
  return grams;
}

InputGram capture_captions(const Model& model, std::span<const std::string> captions) {
  const torch::NoGradGuard no_grad;
  InputGram gram(model.unet->config().cross_attention_dim);
  for (const auto& caption : captions) {
    const auto states =
        diffusion::encode_texts(model.towers, std::span(&caption, 1), diffusion::Padding::kCut);
    gram.add(states.context.slice(1, 1));
  }
  return gram;
}

std::unique_ptr<diffusion::Scheduler> sampler_of(const Model& model) {
  return diffusion::make_scheduler("dpm++", model.settings.scheduler_config);
}

Tensor sample_latents(const Model& model, const ConceptTokens& tokens, const SamplingRun& run,
                      const SamplingHooks& hooks) {
  const torch::NoGradGuard no_grad;
  const auto encode = [&](const std::string& prompt) {
    return concepts::encode_prompts(tokens, model.towers, std::span(&prompt, 1));
  };
  const auto text = encode(run.prompt);
  const auto nothing = run.guidance_scale > 1.0 ? encode("") : nn::Conditioning();
  const auto scheduler = sampler_of(model);

  std::vector<Tensor> latents;
  std::int64_t done = 0;
  const auto after_step = [&](const diffusion::DenoiseStep&) {
    ++done;
    if (hooks.after_step) hooks.after_step(done);
  };
  for (const auto& noise : run.noise.split(run.at_once)) {
    latents.push_back(diffusion::denoise({.unet = model.unet,
                                          .scheduler = scheduler.get(),
                                          .steps = run.steps,
                                          .noise = noise,
                                          .cond = text,
                                          .uncond = nothing,
                                          .guidance_scale = run.guidance_scale,
                                          .residuals = hooks.before_step,
                                          .predict = hooks.predict,
                                          .dtype = run.dtype},
                                         after_step, hooks.cancel));
  }
  return torch::cat(latents);
}

SampledInputs capture_unet(const Model& model, const ConceptTokens& tokens, const SamplingRun& run,
                           const LayerNames& layers, const SamplingHooks& hooks) {
  auto unet = model.unet;
  InputRecorder recorder(*unet, layers, run.kept_rows);
  auto watched = hooks;
  watched.before_step = [&](const diffusion::NetworkCall& call) {
    recorder.expect(call);
    return hooks.before_step ? hooks.before_step(call) : nn::UNetResiduals();
  };
  auto latents = sample_latents(model, tokens, run, watched);
  return {.grams = recorder.grams(), .latents = std::move(latents)};
}

}  // namespace mos::fuse
