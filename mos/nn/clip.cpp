#include "mos/nn/clip.h"

#include <fmt/core.h>
#include <torch/nn/modules/container/modulelist.h>

#include <array>

#include "mos/base/error.h"
#include "mos/nn/limits.h"
#include "mos/nn/ops.h"
#include "mos/nn/parameter.h"

namespace mos::nn {

using torch::Tensor;
using torch::nn::ModuleList;

namespace {

void read_tower(const Json& config, ClipTowerConfig& c) {
  c.hidden_size = json_value(config, "hidden_size", c.hidden_size);
  c.intermediate_size = json_value(config, "intermediate_size", c.intermediate_size);
  c.num_hidden_layers = json_value(config, "num_hidden_layers", c.num_hidden_layers);
  c.num_attention_heads = json_value(config, "num_attention_heads", c.num_attention_heads);
  c.layer_norm_eps = json_value(config, "layer_norm_eps", c.layer_norm_eps);
  const auto activation = json_value<std::string>(config, "hidden_act", "quick_gelu");
  if (activation != "quick_gelu" && activation != "gelu") {
    throw Error(ErrorKind::kFormat,
                fmt::format("CLIP config: \"hidden_act\": \"{}\" is not supported, expected "
                            "\"quick_gelu\" or \"gelu\"",
                            activation));
  }
  c.hidden_act = activation == "gelu" ? ClipActivation::kGelu : ClipActivation::kQuickGelu;
  const bool possible = is_count(c.hidden_size, kLargestWidth) &&
                        is_count(c.intermediate_size, kLargestWidth) &&
                        is_count(c.num_hidden_layers, kMostLayers) && c.num_attention_heads > 0 &&
                        c.hidden_size % c.num_attention_heads == 0 && c.layer_norm_eps > 0;
  if (!possible) {
    throw Error(ErrorKind::kFormat,
                "CLIP config: hidden_size, intermediate_size and num_hidden_layers must be "
                "positive and not "
                "larger than in any network, and num_attention_heads must divide hidden_size");
  }
}

/// `CLIPAttention`; parameters q_proj, k_proj, v_proj, out_proj.
class ClipAttentionImpl : public torch::nn::Module {
 public:
  explicit ClipAttentionImpl(const ClipTowerConfig& config) : heads_(config.num_attention_heads) {
    const auto width = config.hidden_size;
    k_proj_ = register_module("k_proj", Linear(width, width));
    v_proj_ = register_module("v_proj", Linear(width, width));
    q_proj_ = register_module("q_proj", Linear(width, width));
    out_proj_ = register_module("out_proj", Linear(width, width));
  }

  Tensor forward(const Tensor& x, const Tensor& residual, const AttentionOptions& options) {
    const auto split = [&](const Tensor& y) {  // [B,S,C] -> [B,heads,S,D]
      return y.view({y.size(0), y.size(1), heads_, -1}).transpose(1, 2);
    };
    const auto mixed = attention(split(q_proj_(x)), split(k_proj_(x)), split(v_proj_(x)), options);
    return out_proj_->forward(mixed.transpose(1, 2).flatten(2), residual);
  }

 private:
  std::int64_t heads_;
  Linear k_proj_{nullptr}, v_proj_{nullptr}, q_proj_{nullptr}, out_proj_{nullptr};
};
TORCH_MODULE(ClipAttention);

class ClipEncoderLayerImpl : public torch::nn::Module {
 public:
  explicit ClipEncoderLayerImpl(const ClipTowerConfig& config) : activation_(config.hidden_act) {
    const auto width = config.hidden_size;
    self_attn_ = register_module("self_attn", ClipAttention(config));
    norm1_ = register_module("layer_norm1", LayerNorm(width, config.layer_norm_eps));
    auto mlp = register_module("mlp", std::make_shared<torch::nn::Module>());
    fc1_ = mlp->register_module("fc1", Linear(width, config.intermediate_size));
    fc2_ = mlp->register_module("fc2", Linear(config.intermediate_size, width));
    norm2_ = register_module("layer_norm2", LayerNorm(width, config.layer_norm_eps));
  }

  Tensor forward(const Tensor& x, const AttentionOptions& options) {
    const auto y = self_attn_->forward(norm1_(x), x, options);
    const auto wide = fc1_(norm2_(y));
    // OpenCLIP's towers (SD 2.x) have the exact one, OpenAI's the quick one: with the other, text
    // drifts off layer by layer.
    const bool exact = activation_ == ClipActivation::kGelu;
    return fc2_->forward(exact ? nn::gelu(wide) : quick_gelu(wide), y);
  }

 private:
  ClipActivation activation_;
  ClipAttention self_attn_{nullptr};
  LayerNorm norm1_{nullptr}, norm2_{nullptr};
  Linear fc1_{nullptr}, fc2_{nullptr};
};
TORCH_MODULE(ClipEncoderLayer);

/// Registers encoder.layers.N below `owner`.
std::vector<ClipEncoderLayer> make_layers(torch::nn::Module& owner, const ClipTowerConfig& config) {
  auto encoder = owner.register_module("encoder", std::make_shared<torch::nn::Module>());
  auto list = encoder->register_module("layers", ModuleList());
  std::vector<ClipEncoderLayer> layers;
  for (std::int64_t i = 0; i < config.num_hidden_layers; ++i) {
    layers.emplace_back(config);
    list->push_back(layers.back());
  }
  return layers;
}

/// An embedding table: one parameter, `weight`.
class EmbeddingImpl : public torch::nn::Module {
 public:
  EmbeddingImpl(std::int64_t rows, std::int64_t width)
      : weight(register_parameter("weight", new_parameter({rows, width}))) {}
  Tensor weight;
};
TORCH_MODULE(Embedding);

}  // namespace

class ClipTextTransformerImpl : public torch::nn::Module {
 public:
  explicit ClipTextTransformerImpl(const ClipTextConfig& config) : eos_(config.eos_token_id) {
    auto embeddings = register_module("embeddings", std::make_shared<torch::nn::Module>());
    token = embeddings->register_module("token_embedding",
                                        Embedding(config.vocab_size, config.hidden_size));
    position_ = embeddings->register_module(
        "position_embedding", Embedding(config.max_position_embeddings, config.hidden_size));
    layers_ = make_layers(*this, config);
    final_norm_ =
        register_module("final_layer_norm", LayerNorm(config.hidden_size, config.layer_norm_eps));
  }

  ClipTextOutput forward(const Tensor& input_ids) {
    const auto length = input_ids.size(1);
    TORCH_CHECK(length <= position_->weight.size(0), "text of ", length,
                " tokens, but the model has ", position_->weight.size(0), " positions");
    ClipTextOutput out;
    const auto embeddings = embed_tokens(input_ids);
    out.embeddings = embeddings + cast_like(position_->weight.slice(0, 0, length), embeddings);
    auto x = out.embeddings;
    const AttentionOptions causal{.causal = true};
    for (auto& layer : layers_) {
      x = layer(x, causal);
      out.hidden.push_back(x);
    }
    out.last_hidden_state = final_norm_(x);
    const auto row = torch::arange(input_ids.size(0), input_ids.options());
    out.pooler_output = out.last_hidden_state.index({row, pooled_position(input_ids)});
    return out;
  }

  Embedding token{nullptr};
  Tensor concept_rows;

 private:
  Tensor embed_tokens(const Tensor& ids) const {
    const auto dtype = working_dtype(token->weight);
    if (!concept_rows.defined()) return torch::embedding(token->weight, ids).to(dtype);
    const auto vocabulary = token->weight.size(0);
    // Both tables are asked for every position, at a place that exists, and `where` picks: no
    // position has to be found first, which would wait for the device.
    const auto ordinary = torch::embedding(token->weight, ids.clamp_max(vocabulary - 1)).to(dtype);
    const auto own = torch::embedding(concept_rows, (ids - vocabulary).clamp_min(0));
    return torch::where((ids >= vocabulary).unsqueeze(-1), cast_like(own, ordinary), ordinary);
  }

  /// The first end token. Configs of the first CLIP release say 2 there, which means "the largest
  /// id", and so it was for every model up to transformers 4.27.
  Tensor pooled_position(const Tensor& ids) const {
    constexpr std::int64_t kLegacyEos = 2;
    const auto largest = ids.argmax(1);
    if (eos_ == kLegacyEos) return largest;
    const auto is_end = ids == eos_;  // decided on the device, which is not waited for
    return torch::where(is_end.any(1).all(), is_end.to(torch::kInt64).argmax(1), largest);
  }

  std::int64_t eos_;
  Embedding position_{nullptr};
  std::vector<ClipEncoderLayer> layers_;
  LayerNorm final_norm_{nullptr};
};

class ClipVisionTransformerImpl : public torch::nn::Module {
 public:
  explicit ClipVisionTransformerImpl(const ClipVisionConfig& config) : side_(config.image_size) {
    const auto width = config.hidden_size;
    const auto patches = config.image_size / config.patch_size;
    auto embeddings = register_module("embeddings", std::make_shared<torch::nn::Module>());
    class_embedding_ = embeddings->register_parameter("class_embedding", new_parameter({width}));
    patch_ = embeddings->register_module("patch_embedding",
                                         Conv2d(Conv2dOptions{.in_channels = config.num_channels,
                                                              .out_channels = width,
                                                              .kernel_size = config.patch_size,
                                                              .stride = config.patch_size,
                                                              .padding = 0,
                                                              .bias = Bias::kNone}));
    position_ =
        embeddings->register_module("position_embedding", Embedding(patches * patches + 1, width));
    pre_norm_ = register_module("pre_layrnorm", LayerNorm(width, config.layer_norm_eps));  // sic
    layers_ = make_layers(*this, config);
    post_norm_ = register_module("post_layernorm", LayerNorm(width, config.layer_norm_eps));
  }

  ClipVisionOutput forward(const Tensor& pixels) {
    TORCH_CHECK(pixels.size(2) == side_ && pixels.size(3) == side_, "picture of ", pixels.size(2),
                "x", pixels.size(3), ", the image tower expects ", side_, "x", side_);
    const auto patches = patch_(pixels).flatten(2).transpose(1, 2);  // [B,P,C]
    const auto first =
        class_embedding_.to(patches.scalar_type()).expand({patches.size(0), 1, patches.size(2)});
    auto x = torch::cat({first, patches}, 1) + cast_like(position_->weight, patches);
    x = pre_norm_(x);
    for (auto& layer : layers_) x = layer(x, AttentionOptions());
    return {x, post_norm_(x.select(1, 0))};
  }

 private:
  std::int64_t side_;
  Tensor class_embedding_;
  Conv2d patch_{nullptr};
  Embedding position_{nullptr};
  LayerNorm pre_norm_{nullptr}, post_norm_{nullptr};
  std::vector<ClipEncoderLayer> layers_;
};

ClipTextConfig ClipTextConfig::from_json(const Json& config) {
  ClipTextConfig c;
  // Configs leave out what is as in the smallest CLIP.
  c.hidden_size = 512;  // transformers' defaults, ViT-B/32
  c.intermediate_size = 2048;
  c.num_attention_heads = 8;
  read_tower(config, c);
  c.vocab_size = json_value(config, "vocab_size", c.vocab_size);
  c.max_position_embeddings =
      json_value(config, "max_position_embeddings", c.max_position_embeddings);
  c.eos_token_id = json_value(config, "eos_token_id", c.eos_token_id);
  if (!is_count(c.vocab_size, kLargestVocabulary) || c.max_position_embeddings < 2 ||
      c.max_position_embeddings > kLargestWidth) {
    throw Error(
        ErrorKind::kFormat,
        fmt::format("CLIP text config: vocab_size is {} and max_position_embeddings {}, "
                    "expected 1 to {} and 2 to {}",
                    c.vocab_size, c.max_position_embeddings, kLargestVocabulary, kLargestWidth));
  }
  return c;
}

ClipVisionConfig ClipVisionConfig::from_json(const Json& config) {
  ClipVisionConfig c;
  read_tower(config, c);
  c.num_channels = json_value(config, "num_channels", c.num_channels);
  c.image_size = json_value(config, "image_size", c.image_size);
  c.patch_size = json_value(config, "patch_size", c.patch_size);
  if (!is_count(c.num_channels, kLargestWidth) || !is_count(c.image_size, kLargestWidth) ||
      !is_count(c.patch_size, c.image_size)) {
    throw Error(ErrorKind::kFormat,
                "CLIP vision config: num_channels and patch_size must be positive and image_size "
                "at least patch_size");
  }
  return c;
}

CLIPTextModelImpl::CLIPTextModelImpl(const ClipTextConfig& config)
    : config_(config),
      text_model_(
          register_module("text_model", std::make_shared<ClipTextTransformerImpl>(config))) {}

ClipTextOutput CLIPTextModelImpl::forward(const Tensor& input_ids) {
  return text_model_->forward(input_ids);
}

void CLIPTextModelImpl::set_concept_rows(const Tensor& rows) { text_model_->concept_rows = rows; }

const Tensor& CLIPTextModelImpl::concept_rows() const { return text_model_->concept_rows; }

Tensor& CLIPTextModelImpl::token_embedding() { return text_model_->token->weight; }

Tensor normalise_pixels(const Tensor& pixels) {
  // openai/CLIP: the normalisation of its training pictures.
  constexpr std::array<double, 3> kMean = {0.48145466, 0.4578275, 0.40821073};
  constexpr std::array<double, 3> kDeviation = {0.26862954, 0.26130258, 0.27577711};
  const auto channel = [&](const std::array<double, 3>& values) {
    return torch::tensor(at::ArrayRef<double>(values), pixels.options()).view({3, 1, 1});
  };
  return (pixels - channel(kMean)) / channel(kDeviation);
}

CLIPVisionModelImpl::CLIPVisionModelImpl(const ClipVisionConfig& config)
    : config_(config),
      vision_model_(
          register_module("vision_model", std::make_shared<ClipVisionTransformerImpl>(config))) {}

ClipVisionOutput CLIPVisionModelImpl::forward(const Tensor& pixel_values) {
  return vision_model_->forward(pixel_values);
}

CLIPModelImpl::CLIPModelImpl(const ClipTextConfig& text, const ClipVisionConfig& vision,
                             std::int64_t projection_dim)
    : text_config_(text), vision_config_(vision) {
  text_model_ = register_module("text_model", std::make_shared<ClipTextTransformerImpl>(text));
  vision_model_ =
      register_module("vision_model", std::make_shared<ClipVisionTransformerImpl>(vision));
  visual_projection_ =
      register_module("visual_projection", Linear(vision.hidden_size, projection_dim, Bias::kNone));
  text_projection_ =
      register_module("text_projection", Linear(text.hidden_size, projection_dim, Bias::kNone));
  logit_scale_ = register_parameter("logit_scale", new_parameter({}));
}

std::shared_ptr<CLIPModelImpl> CLIPModelImpl::from_json(const Json& config) {
  const auto width = json_value<std::int64_t>(config, "projection_dim", 512);
  if (!is_count(width, kLargestWidth)) {
    throw Error(
        ErrorKind::kFormat,
        fmt::format("CLIP config: projection_dim is {}, expected 1 to {}", width, kLargestWidth));
  }
  return std::make_shared<CLIPModelImpl>(
      ClipTextConfig::from_json(json_value<Json>(config, "text_config", Json::object())),
      ClipVisionConfig::from_json(json_value<Json>(config, "vision_config", Json::object())),
      width);
}

ClipTextOutput CLIPModelImpl::text(const Tensor& input_ids) {
  return text_model_->forward(input_ids);
}

ClipVisionOutput CLIPModelImpl::vision(const Tensor& pixel_values) {
  return vision_model_->forward(pixel_values);
}

Tensor CLIPModelImpl::text_embeds(const Tensor& input_ids) {
  const auto y = text_projection_(text(input_ids).pooler_output);
  return y / y.norm(2, {-1}, /*keepdim=*/true);
}

Tensor CLIPModelImpl::image_embeds(const Tensor& pixel_values) {
  const auto y = visual_projection_(vision(pixel_values).pooler_output);
  return y / y.norm(2, {-1}, /*keepdim=*/true);
}

}  // namespace mos::nn
