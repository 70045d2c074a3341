#include "mos/nn/t2i_adapter.h"

#include <fmt/core.h>
#include <torch/nn/modules/container/modulelist.h>

#include <algorithm>

#include "mos/base/error.h"
#include "mos/nn/limits.h"
#include "mos/nn/linear.h"

namespace mos::nn {

using torch::Tensor;
using torch::nn::ModuleList;

namespace {

constexpr std::int64_t kLightReduction = 4;  // diffusers: mid_channels = out_channels // 4
constexpr const char* kFullName = "full_adapter";
constexpr const char* kLightName = "light_adapter";

/// x + block2(relu(block1(x))); block2 is 1×1 in the full adapter and 3×3 in the light one.
class AdapterResnet : public torch::nn::Module {
 public:
  AdapterResnet(std::int64_t channels, T2IAdapterKind kind) {
    block1_ = register_module("block1", conv3x3(channels, channels));
    block2_ =
        register_module("block2", kind == T2IAdapterKind::kFull ? conv1x1(channels, channels)
                                                                : conv3x3(channels, channels));
  }
  Tensor forward(const Tensor& x) { return x + block2_(torch::relu(block1_(x))); }

 private:
  Conv2d block1_{nullptr}, block2_{nullptr};
};

/// Halves the resolution; odd sizes round up, as the U-Net's strided convolutions do.
Tensor halve(const Tensor& x) { return torch::avg_pool2d(x, 2, 2, 0, /*ceil_mode=*/true); }

T2IAdapterKind kind_named(const std::string& name) {
  if (name == kFullName) return T2IAdapterKind::kFull;
  if (name == kLightName) return T2IAdapterKind::kLight;
  if (name == "full_adapter_xl") {
    throw Error(ErrorKind::kMismatch,
                "the adapter is a full_adapter_xl, made for Stable Diffusion XL; expected a "
                "full_adapter or light_adapter for Stable Diffusion 1.x or 2.x");
  }
  throw Error(ErrorKind::kFormat, fmt::format("adapter config: adapter_type is \"{}\", expected {} "
                                              "or {}",
                                              name, kFullName, kLightName));
}

}  // namespace

T2IAdapterConfig T2IAdapterConfig::from_json(const Json& config) {
  T2IAdapterConfig c;
  c.kind = kind_named(json_value<std::string>(config, "adapter_type", kFullName));
  c.in_channels = json_value(config, "in_channels", c.in_channels);
  c.channels = json_value(config, "channels", c.channels);
  c.num_res_blocks = json_value(config, "num_res_blocks", c.num_res_blocks);
  c.downscale_factor = json_value(config, "downscale_factor", c.downscale_factor);
  if (c.kind == T2IAdapterKind::kLight && !c.channels.empty()) {
    c.channels.push_back(c.channels.back());
  }
  c.check();
  return c;
}

Json T2IAdapterConfig::to_json() const {
  auto named = channels;
  if (kind == T2IAdapterKind::kLight && !named.empty()) named.pop_back();
  return {{"_class_name", "T2IAdapter"},
          // The first with this class; later ones read the same file.
          {"_diffusers_version", "0.19.3"},
          {"adapter_type", kind == T2IAdapterKind::kFull ? kFullName : kLightName},
          {"channels", named},
          {"downscale_factor", downscale_factor},
          {"in_channels", in_channels},
          {"num_res_blocks", num_res_blocks}};
}

void T2IAdapterConfig::check() const {
  const auto bad = [](const std::string& what) {
    throw Error(ErrorKind::kFormat, "adapter config: " + what);
  };
  if (in_channels != 1 && in_channels != 3) {
    bad(fmt::format("in_channels is {}, expected 1 (grey pictures) or 3", in_channels));
  }
  if (channels.empty() || channels.size() > kMostLevels) {
    bad(fmt::format("channels has {} levels, expected 1…{}", channels.size(), kMostLevels));
  }
  for (const auto width : channels) {
    const auto least = kind == T2IAdapterKind::kLight ? kLightReduction : 1;
    if (width < least || width > kLargestWidth) bad(fmt::format("channels has {}", width));
  }
  if (num_res_blocks < 1 || num_res_blocks > 64) bad("num_res_blocks must lie in 1…64");
  if (downscale_factor < 1 || downscale_factor > 64) bad("downscale_factor must lie in 1…64");
}

/// diffusers' `AdapterBlock` and `LightAdapterBlock`.
class T2IAdapterImpl::Level : public torch::nn::Module {
 public:
  Level(std::int64_t in, std::int64_t out, const T2IAdapterConfig& config) {
    const bool light = config.kind == T2IAdapterKind::kLight;
    const auto inner = light ? out / kLightReduction : out;
    if (light || in != out) in_conv_ = register_module("in_conv", conv1x1(in, inner));
    auto list = register_module("resnets", ModuleList());
    for (std::int64_t i = 0; i < config.num_res_blocks; ++i) {
      resnets_.push_back(std::make_shared<AdapterResnet>(inner, config.kind));
      list->push_back(resnets_.back());
    }
    if (light) out_conv_ = register_module("out_conv", conv1x1(inner, out));
  }

  Tensor forward(Tensor x) {
    if (!in_conv_.is_empty()) x = in_conv_(x);
    for (const auto& resnet : resnets_) x = resnet->forward(x);
    return out_conv_.is_empty() ? x : out_conv_(x);
  }

 private:
  Conv2d in_conv_{nullptr}, out_conv_{nullptr};
  std::vector<std::shared_ptr<AdapterResnet>> resnets_;
};

T2IAdapterImpl::T2IAdapterImpl(const T2IAdapterConfig& config) : config_(config) {
  auto root = register_module("adapter", std::make_shared<torch::nn::Module>());
  auto in = config.in_channels * config.downscale_factor * config.downscale_factor;
  if (config.kind == T2IAdapterKind::kFull) {
    conv_in_ = root->register_module("conv_in", conv3x3(in, config.channels.front()));
    in = config.channels.front();
  }
  auto body = root->register_module("body", ModuleList());
  for (const auto out : config.channels) {
    levels_.push_back(std::make_shared<Level>(in, out, config));
    body->push_back(levels_.back());
    in = out;
  }
}

std::vector<Tensor> T2IAdapterImpl::forward(const Tensor& picture) {
  TORCH_CHECK(picture.dim() == 4 && picture.size(1) == config_.in_channels, "the adapter takes [B,",
              config_.in_channels, ",H,W], got ", picture.sizes());
  // To the size of the latents at once: what is lost in resolution becomes channels.
  auto x = torch::pixel_unshuffle(picture, config_.downscale_factor);
  if (!conv_in_.is_empty()) x = conv_in_(x);
  std::vector<Tensor> features;
  for (const auto& level : levels_) {
    if (!features.empty()) x = halve(x);
    x = level->forward(x);
    features.push_back(x);
  }
  return features;
}

}  // namespace mos::nn
