#include "mos/nn/vit.h"

#include <fmt/core.h>
#include <torch/nn/modules/container/modulelist.h>

#include <string>
#include <vector>

#include "mos/base/error.h"
#include "mos/nn/limits.h"
#include "mos/nn/linear.h"
#include "mos/nn/norm.h"
#include "mos/nn/ops.h"
#include "mos/nn/parameter.h"

namespace mos::nn {

using torch::Tensor;
using torch::nn::Module;

namespace {

std::shared_ptr<Module> group(Module& owner, const char* name) {
  return owner.register_module(name, std::make_shared<Module>());
}

}  // namespace

/// `ViTLayer`: attention and MLP, each behind a norm.
class ViTLayerImpl : public Module {
 public:
  explicit ViTLayerImpl(const ViTConfig& config) : heads_(config.num_attention_heads) {
    const auto width = config.hidden_size;
    const auto bias = config.qkv_bias ? Bias::kLearned : Bias::kNone;
    auto attention = group(*this, "attention");
    auto own = group(*attention, "attention");
    query_ = own->register_module("query", Linear(width, width, bias));
    key_ = own->register_module("key", Linear(width, width, bias));
    value_ = own->register_module("value", Linear(width, width, bias));
    mixed_ = group(*attention, "output")->register_module("dense", Linear(width, width));
    wide_ = group(*this, "intermediate")
                ->register_module("dense", Linear(width, config.intermediate_size));
    narrow_ =
        group(*this, "output")->register_module("dense", Linear(config.intermediate_size, width));
    before_ = register_module("layernorm_before", LayerNorm(width, config.layer_norm_eps));
    after_ = register_module("layernorm_after", LayerNorm(width, config.layer_norm_eps));
  }

  Tensor forward(const Tensor& x) {
    const auto split = [&](const Tensor& y) {  // [B,S,C] -> [B,heads,S,D]
      return y.view({y.size(0), y.size(1), heads_, -1}).transpose(1, 2);
    };
    const auto read = before_(x);
    const auto seen =
        nn::attention(split(query_(read)), split(key_(read)), split(value_(read)), {});
    const auto y = mixed_->forward(seen.transpose(1, 2).flatten(2), x);
    return narrow_->forward(nn::gelu(wide_(after_(y))), y);
  }

 private:
  std::int64_t heads_;
  Linear query_{nullptr}, key_{nullptr}, value_{nullptr}, mixed_{nullptr};
  Linear wide_{nullptr}, narrow_{nullptr};
  LayerNorm before_{nullptr}, after_{nullptr};
};

struct ViTModelImpl::Parts {
  Tensor class_token, positions;  // [1,1,C], [1,1+P,C]
  Conv2d patches{nullptr};
  std::vector<std::shared_ptr<ViTLayerImpl>> layers;
  LayerNorm norm{nullptr};
};

ViTConfig ViTConfig::from_json(const Json& config) {
  const auto type = json_value<std::string>(config, "model_type", "vit");
  const auto activation = json_value<std::string>(config, "hidden_act", "gelu");
  if (type != "vit" || activation != "gelu") {
    throw Error(
        ErrorKind::kFormat,
        fmt::format("a vision transformer of the kind \"{}\" with \"{}\" is not known here, "
                    "expected \"vit\" with \"gelu\", as DINO is",
                    type, activation));
  }
  ViTConfig c;
  c.hidden_size = json_value(config, "hidden_size", c.hidden_size);
  c.intermediate_size = json_value(config, "intermediate_size", c.intermediate_size);
  c.num_hidden_layers = json_value(config, "num_hidden_layers", c.num_hidden_layers);
  c.num_attention_heads = json_value(config, "num_attention_heads", c.num_attention_heads);
  c.layer_norm_eps = json_value(config, "layer_norm_eps", c.layer_norm_eps);
  c.image_size = json_value(config, "image_size", c.image_size);
  c.patch_size = json_value(config, "patch_size", c.patch_size);
  c.qkv_bias = json_value(config, "qkv_bias", c.qkv_bias);
  const bool possible =
      is_count(c.hidden_size, kLargestWidth) && is_count(c.intermediate_size, kLargestWidth) &&
      is_count(c.num_hidden_layers, kMostLayers) && c.num_attention_heads > 0 &&
      c.hidden_size % c.num_attention_heads == 0 && is_count(c.image_size, kLargestWidth) &&
      is_count(c.patch_size, c.image_size) && c.layer_norm_eps > 0;
  if (possible) return c;
  throw Error(ErrorKind::kFormat,
              "vision transformer config: sizes must be positive and not larger than in any "
              "network, num_attention_heads must divide hidden_size, and image_size be at least "
              "patch_size");
}

ViTModelImpl::ViTModelImpl(const ViTConfig& config)
    : config_(config), parts_(std::make_shared<Parts>()) {
  const auto width = config.hidden_size, side = config.image_size / config.patch_size;
  auto embeddings = group(*this, "embeddings");
  parts_->class_token = embeddings->register_parameter("cls_token", new_parameter({1, 1, width}));
  parts_->positions = embeddings->register_parameter("position_embeddings",
                                                     new_parameter({1, side * side + 1, width}));
  parts_->patches =
      group(*embeddings, "patch_embeddings")
          ->register_module("projection", Conv2d(Conv2dOptions{.in_channels = 3,
                                                               .out_channels = width,
                                                               .kernel_size = config.patch_size,
                                                               .stride = config.patch_size,
                                                               .padding = 0}));
  auto list = group(*this, "encoder")->register_module("layer", torch::nn::ModuleList());
  for (std::int64_t i = 0; i < config.num_hidden_layers; ++i) {
    parts_->layers.push_back(std::make_shared<ViTLayerImpl>(config));
    list->push_back(parts_->layers.back());
  }
  parts_->norm = register_module("layernorm", LayerNorm(width, config.layer_norm_eps));
}

Tensor ViTModelImpl::forward(const Tensor& pixel_values) {
  const auto patches = parts_->patches(pixel_values).flatten(2).transpose(1, 2);  // [B,P,C]
  const auto first =
      cast_like(parts_->class_token, patches).expand({patches.size(0), 1, patches.size(2)});
  auto x = torch::cat({first, patches}, 1) + cast_like(parts_->positions, patches);
  for (auto& layer : parts_->layers) x = layer->forward(x);
  return parts_->norm(x).select(1, 0);
}

}  // namespace mos::nn
