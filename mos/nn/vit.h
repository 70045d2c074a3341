#pragma once

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>
#include <torch/types.h>

#include <cstdint>
#include <memory>

#include "mos/base/json.h"

namespace mos::nn {

struct ViTConfig {
  std::int64_t hidden_size = 768;
  std::int64_t intermediate_size = 3072;
  std::int64_t num_hidden_layers = 12;
  std::int64_t num_attention_heads = 12;
  double layer_norm_eps = 1e-12;
  std::int64_t image_size = 224;
  std::int64_t patch_size = 16;
  bool qkv_bias = true;

  /// Throws kFormat on impossible values, and for a model_type or an activation that is another's.
  static ViTConfig from_json(const Json& config);
};

/// transformers' `ViTModel` without its pooler, such as DINO; parameters have its names.
class ViTModelImpl : public torch::nn::Module {
 public:
  explicit ViTModelImpl(const ViTConfig& config);
  /// pixel_values [B,3,image_size,image_size] -> the class token after the last norm [B,C].
  torch::Tensor forward(const torch::Tensor& pixel_values);
  const ViTConfig& config() const { return config_; }

 private:
  struct Parts;
  ViTConfig config_;
  std::shared_ptr<Parts> parts_;
};
TORCH_MODULE(ViTModel);

}  // namespace mos::nn
