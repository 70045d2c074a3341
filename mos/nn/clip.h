#pragma once

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>
#include <torch/types.h>

#include <cstdint>
#include <vector>

#include "mos/base/json.h"
#include "mos/nn/linear.h"
#include "mos/nn/norm.h"

namespace mos::nn {

enum class ClipActivation { kQuickGelu, kGelu };

/// Sizes shared by the text and the vision tower.
struct ClipTowerConfig {
  std::int64_t hidden_size = 768;
  std::int64_t intermediate_size = 3072;
  std::int64_t num_hidden_layers = 12;
  std::int64_t num_attention_heads = 12;
  double layer_norm_eps = 1e-5;
  ClipActivation hidden_act = ClipActivation::kQuickGelu;
};

struct ClipTextConfig : ClipTowerConfig {
  std::int64_t vocab_size = 49408;
  std::int64_t max_position_embeddings = 77;
  std::int64_t eos_token_id = 49407;

  /// Throws kFormat on impossible values.
  static ClipTextConfig from_json(const Json& config);
};

struct ClipVisionConfig : ClipTowerConfig {
  std::int64_t num_channels = 3;
  std::int64_t image_size = 224;
  std::int64_t patch_size = 32;

  static ClipVisionConfig from_json(const Json& config);
};

struct ClipTextOutput {
  torch::Tensor embeddings;           ///< [B,S,C] token + position embeddings.
  std::vector<torch::Tensor> hidden;  ///< After each encoder layer, before the final norm.
  torch::Tensor last_hidden_state;    ///< [B,S,C] after the final norm: what the U-Net reads.
  torch::Tensor pooler_output;        ///< [B,C] at the end token (transformers 4.27: largest id).
};

struct ClipVisionOutput {
  torch::Tensor last_hidden_state;  ///< [B,1+patches,C], not normalised.
  torch::Tensor pooler_output;      ///< [B,C] class token after post_layernorm.
};

class ClipTextTransformerImpl;
class ClipVisionTransformerImpl;

/// transformers' `CLIPTextModel`; parameters start with `text_model.`.
class CLIPTextModelImpl : public torch::nn::Module {
 public:
  explicit CLIPTextModelImpl(const ClipTextConfig& config);

  /// input_ids [B,S] int64. Ids from vocab_size on are concept tokens: id vocab_size + k is row k
  /// of the concept rows.
  ClipTextOutput forward(const torch::Tensor& input_ids);

  /// Rows of concept tokens [n,C]; may require grad, and the tensor is aliased. Undefined: none.
  void set_concept_rows(const torch::Tensor& rows);
  const torch::Tensor& concept_rows() const;
  /// [vocab_size,C]
  torch::Tensor& token_embedding();
  const ClipTextConfig& config() const { return config_; }

 private:
  ClipTextConfig config_;
  std::shared_ptr<ClipTextTransformerImpl> text_model_;
};
TORCH_MODULE(CLIPTextModel);

/// Pixels […,3,H,W] in 0…1 with CLIP's mean and deviation taken out: what image towers see.
torch::Tensor normalise_pixels(const torch::Tensor& pixels);

/// transformers' `CLIPVisionModel`; parameters start with `vision_model.`.
class CLIPVisionModelImpl : public torch::nn::Module {
 public:
  explicit CLIPVisionModelImpl(const ClipVisionConfig& config);
  /// pixel_values [B,3,image_size,image_size], normalised with CLIP's mean and deviation.
  ClipVisionOutput forward(const torch::Tensor& pixel_values);
  const ClipVisionConfig& config() const { return config_; }

 private:
  ClipVisionConfig config_;
  std::shared_ptr<ClipVisionTransformerImpl> vision_model_;
};
TORCH_MODULE(CLIPVisionModel);

/// transformers' `CLIPModel`: both towers and their projections into one space.
class CLIPModelImpl : public torch::nn::Module {
 public:
  CLIPModelImpl(const ClipTextConfig& text, const ClipVisionConfig& vision,
                std::int64_t projection_dim);
  /// A config.json with text_config, vision_config and projection_dim.
  static std::shared_ptr<CLIPModelImpl> from_json(const Json& config);

  /// L2-normalised embeddings [B,projection_dim].
  torch::Tensor text_embeds(const torch::Tensor& input_ids);
  torch::Tensor image_embeds(const torch::Tensor& pixel_values);
  /// Learned temperature, exp(logit_scale).
  torch::Tensor logit_scale() const { return logit_scale_.exp(); }

  ClipTextOutput text(const torch::Tensor& input_ids);
  ClipVisionOutput vision(const torch::Tensor& pixel_values);
  const ClipTextConfig& text_config() const { return text_config_; }
  const ClipVisionConfig& vision_config() const { return vision_config_; }

 private:
  ClipTextConfig text_config_;
  ClipVisionConfig vision_config_;
  std::shared_ptr<ClipTextTransformerImpl> text_model_;
  std::shared_ptr<ClipVisionTransformerImpl> vision_model_;
  Linear visual_projection_{nullptr}, text_projection_{nullptr};
  torch::Tensor logit_scale_;
};
TORCH_MODULE(CLIPModel);

}  // namespace mos::nn
