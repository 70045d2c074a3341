#include "mos/nn/vae.h"

#include <fmt/core.h>
#include <torch/nn/modules/container/modulelist.h>

#include "mos/base/error.h"
#include "mos/nn/attention.h"
#include "mos/nn/limits.h"
#include "mos/nn/norm.h"
#include "mos/nn/ops.h"
#include "mos/nn/resnet.h"

namespace mos::nn {

using torch::Tensor;
using torch::nn::ModuleList;

namespace {

constexpr double kVaeNormEps = 1e-6;  // diffusers: autoencoder resnet_eps

ResnetBlock2D resnet(const VaeConfig& config, std::int64_t in, std::int64_t out) {
  return ResnetBlock2D(ResnetSize{.in_channels = in,
                                  .out_channels = out,
                                  .groups = config.norm_num_groups,
                                  .eps = kVaeNormEps});
}

/// Single-head self-attention over pixels with its own norm and a residual.
class VaeAttentionImpl : public torch::nn::Module {
 public:
  VaeAttentionImpl(std::int64_t channels, std::int64_t groups) {
    norm_ = register_module("group_norm", GroupNorm(groups, channels, kVaeNormEps));
    to_q_ = register_module("to_q", Linear(channels, channels));
    to_k_ = register_module("to_k", Linear(channels, channels));
    to_v_ = register_module("to_v", Linear(channels, channels));
    out_ = Linear(channels, channels);
    auto to_out = register_module("to_out", ModuleList());
    to_out->push_back(out_);
  }

  Tensor forward(const Tensor& x) {
    // One head as wide as the channels; its N² scores are taken in chunks (ops.h).
    const auto rows = norm_(x).permute({0, 2, 3, 1}).flatten(1, 2).unsqueeze(1);  // [B,1,N,C]
    const auto mixed = attention(to_q_(rows), to_k_(rows), to_v_(rows)).squeeze(1);
    return x + out_(mixed).unflatten(1, {x.size(2), x.size(3)}).permute({0, 3, 1, 2});
  }

 private:
  GroupNorm norm_{nullptr};
  Linear to_q_{nullptr}, to_k_{nullptr}, to_v_{nullptr}, out_{nullptr};
};
TORCH_MODULE(VaeAttention);

class VaeMidBlockImpl : public torch::nn::Module {
 public:
  explicit VaeMidBlockImpl(const VaeConfig& config) {
    const auto channels = config.block_out_channels.back();
    auto attentions = register_module("attentions", ModuleList());
    attentions->push_back(attention_ = VaeAttention(channels, config.norm_num_groups));
    auto resnets = register_module("resnets", ModuleList());
    resnets->push_back(first_ = resnet(config, channels, channels));
    resnets->push_back(second_ = resnet(config, channels, channels));
  }

  Tensor forward(const Tensor& x) { return second_(attention_(first_(x))); }

 private:
  VaeAttention attention_{nullptr};
  ResnetBlock2D first_{nullptr}, second_{nullptr};
};
TORCH_MODULE(VaeMidBlock);

struct VaeDownBlock : torch::nn::Module {
  std::vector<ResnetBlock2D> resnets;
  Downsample2D downsampler{nullptr};
};

struct VaeUpBlock : torch::nn::Module {
  std::vector<ResnetBlock2D> resnets;
  Upsample2D upsampler{nullptr};
};

/// Two-byte dtypes run on channels-last features, as in the U-Net.
Tensor preferred_format(const Tensor& x) {
  return x.element_size() == 2 ? x.contiguous(at::MemoryFormat::ChannelsLast) : x;
}

}  // namespace

class VaeEncoderImpl : public torch::nn::Module {
 public:
  explicit VaeEncoderImpl(const VaeConfig& config) {
    auto in = config.block_out_channels.front();
    conv_in_ = register_module(
        "conv_in", Conv2d(Conv2dOptions{.in_channels = config.in_channels, .out_channels = in}));
    auto list = register_module("down_blocks", ModuleList());
    const auto levels = config.block_out_channels.size();
    for (std::size_t level = 0; level < levels; ++level) {
      const auto out = config.block_out_channels[level];
      auto block = std::make_shared<VaeDownBlock>();
      auto resnets = block->register_module("resnets", ModuleList());
      for (std::int64_t i = 0; i < config.layers_per_block; ++i) {
        block->resnets.push_back(resnet(config, i == 0 ? in : out, out));
        resnets->push_back(block->resnets.back());
      }
      if (level + 1 < levels) {
        auto downsamplers = block->register_module("downsamplers", ModuleList());
        downsamplers->push_back(block->downsampler = Downsample2D(out, Downsampling::kAsymmetric));
      }
      list->push_back(block);
      blocks_.push_back(block);
      in = out;
    }
    mid_ = register_module("mid_block", VaeMidBlock(config));
    norm_ = register_module("conv_norm_out", GroupNorm(config.norm_num_groups, in, kVaeNormEps));
    conv_out_ = register_module(
        "conv_out",
        Conv2d(Conv2dOptions{.in_channels = in, .out_channels = 2 * config.latent_channels}));
  }

  Tensor forward(const Tensor& pictures) {
    auto x = conv_in_(preferred_format(pictures));
    for (auto& block : blocks_) {
      for (auto& layer : block->resnets) x = layer(x);
      if (!block->downsampler.is_empty()) x = block->downsampler(x);
    }
    return conv_out_(norm_(mid_(x), Activation::kSilu));
  }

 private:
  Conv2d conv_in_{nullptr}, conv_out_{nullptr};
  std::vector<std::shared_ptr<VaeDownBlock>> blocks_;
  VaeMidBlock mid_{nullptr};
  GroupNorm norm_{nullptr};
};

class VaeDecoderImpl : public torch::nn::Module {
 public:
  explicit VaeDecoderImpl(const VaeConfig& config) {
    auto in = config.block_out_channels.back();
    conv_in_ = register_module(
        "conv_in",
        Conv2d(Conv2dOptions{.in_channels = config.latent_channels, .out_channels = in}));
    mid_ = register_module("mid_block", VaeMidBlock(config));
    auto list = register_module("up_blocks", ModuleList());
    const auto levels = config.block_out_channels.size();
    for (std::size_t position = 0; position < levels; ++position) {
      const auto out = config.block_out_channels[levels - 1 - position];
      auto block = std::make_shared<VaeUpBlock>();
      auto resnets = block->register_module("resnets", ModuleList());
      for (std::int64_t i = 0; i <= config.layers_per_block; ++i) {
        block->resnets.push_back(resnet(config, i == 0 ? in : out, out));
        resnets->push_back(block->resnets.back());
      }
      if (position + 1 < levels) {
        auto upsamplers = block->register_module("upsamplers", ModuleList());
        upsamplers->push_back(block->upsampler = Upsample2D(out));
      }
      list->push_back(block);
      blocks_.push_back(block);
      in = out;
    }
    norm_ = register_module("conv_norm_out", GroupNorm(config.norm_num_groups, in, kVaeNormEps));
    conv_out_ = register_module(
        "conv_out", Conv2d(Conv2dOptions{.in_channels = in, .out_channels = config.out_channels}));
  }

  Tensor forward(const Tensor& latents) {
    auto x = mid_(conv_in_(preferred_format(latents)));
    for (auto& block : blocks_) {
      for (auto& layer : block->resnets) x = layer(x);
      if (!block->upsampler.is_empty()) x = block->upsampler(x, 2 * x.size(2), 2 * x.size(3));
    }
    return conv_out_(norm_(x, Activation::kSilu));
  }

 private:
  Conv2d conv_in_{nullptr}, conv_out_{nullptr};
  VaeMidBlock mid_{nullptr};
  std::vector<std::shared_ptr<VaeUpBlock>> blocks_;
  GroupNorm norm_{nullptr};
};

VaeConfig VaeConfig::from_json(const Json& config) {
  for (const auto& [key, kind] : {std::pair{"down_block_types", "DownEncoderBlock2D"},
                                  std::pair{"up_block_types", "UpDecoderBlock2D"}}) {
    for (const auto& type : json_value<std::vector<std::string>>(config, key, {})) {
      if (type == kind) continue;
      throw Error(ErrorKind::kFormat, fmt::format("VAE config: block \"{}\" in \"{}\" is not "
                                                  "supported, expected \"{}\"",
                                                  type, key, kind));
    }
  }
  if (json_value<std::string>(config, "act_fn", "silu") != "silu") {
    throw Error(ErrorKind::kFormat, "VAE config: \"act_fn\" must be \"silu\"");
  }
  VaeConfig c;
  c.in_channels = json_value<std::int64_t>(config, "in_channels", 3);
  c.out_channels = json_value<std::int64_t>(config, "out_channels", 3);
  c.latent_channels = json_value<std::int64_t>(config, "latent_channels", 4);
  c.block_out_channels = json_required<std::vector<std::int64_t>>(config, "block_out_channels");
  c.layers_per_block = json_value<std::int64_t>(config, "layers_per_block", 1);
  c.norm_num_groups = json_value<std::int64_t>(config, "norm_num_groups", 32);
  c.scaling_factor = json_value<double>(config, "scaling_factor", 0.18215);
  const bool possible =
      is_count(c.in_channels, kLargestWidth) && is_count(c.out_channels, kLargestWidth) &&
      is_count(c.latent_channels, kLargestWidth) && is_count(c.layers_per_block, kMostLayers) &&
      is_count(c.norm_num_groups, kLargestWidth) && c.scaling_factor > 0 &&
      !c.block_out_channels.empty() && c.block_out_channels.size() <= kMostLevels;
  if (!possible) {
    throw Error(ErrorKind::kFormat,
                "VAE config: channels, layers_per_block, norm_num_groups and scaling_factor must "
                "be positive and not larger than in any network");
  }
  for (const auto channels : c.block_out_channels) {
    if (!is_count(channels, kLargestWidth) || channels % c.norm_num_groups != 0) {
      throw Error(ErrorKind::kFormat,
                  fmt::format("VAE config: block_out_channels has {}, expected a positive multiple "
                              "of norm_num_groups {}",
                              channels, c.norm_num_groups));
    }
  }
  return c;
}

AutoencoderKLImpl::AutoencoderKLImpl(const VaeConfig& config) : config_(config) {
  encoder_ = register_module("encoder", std::make_shared<VaeEncoderImpl>(config));
  decoder_ = register_module("decoder", std::make_shared<VaeDecoderImpl>(config));
  quant_conv_ = register_module("quant_conv",
                                conv1x1(2 * config.latent_channels, 2 * config.latent_channels));
  post_quant_conv_ =
      register_module("post_quant_conv", conv1x1(config.latent_channels, config.latent_channels));
}

Tensor AutoencoderKLImpl::moments(const Tensor& pictures) {
  return quant_conv_(encoder_->forward(pictures));
}

LatentDistribution AutoencoderKLImpl::encode(const Tensor& pictures) {
  const auto parts = moments(pictures).chunk(2, 1);
  // exp of half of it stays within float32, whatever a badly trained encoder says.
  return {parts[0], parts[1].clamp(-30.0, 20.0)};
}

Tensor AutoencoderKLImpl::decode(const Tensor& latents) {
  return decoder_->forward(post_quant_conv_(latents));
}

}  // namespace mos::nn
