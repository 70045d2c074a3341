#include "mos/nn/controlnet.h"

#include <fmt/core.h>

#include <cmath>

#include "mos/base/error.h"
#include "mos/nn/limits.h"
#include "mos/nn/ops.h"

namespace mos::nn {

using torch::Tensor;

namespace {

/// The mean over all positions, at each of them.
Tensor pooled(const Tensor& x) { return x.mean({2, 3}, /*keepdim=*/true).expand_as(x); }

[[noreturn]] void refuse(const std::string& what) {
  throw Error(ErrorKind::kFormat, "ControlNet config: " + what);
}

}  // namespace

ControlNetConfig ControlNetConfig::from_json(const Json& config) {
  ControlNetConfig result;
  auto of_unet = config;
  // A ControlNet gives no picture: its config has no such number, and the reader wants one.
  of_unet["out_channels"] = json_value<std::int64_t>(config, "in_channels", 4);
  // A ControlNet has no up blocks; those of its U-Net mirror the down blocks.
  if (const auto down = config.find("down_block_types"); down != config.end() && down->is_array()) {
    Json up = Json::array();
    for (const auto& type : *down) {
      const bool attends = type == "CrossAttnDownBlock2D";
      up.insert(up.begin(), attends ? "CrossAttnUpBlock2D" : "UpBlock2D");
    }
    of_unet["up_block_types"] = up;
  }
  result.unet = UNetConfig::from_json(of_unet);
  result.conditioning_channels =
      json_value(config, "conditioning_channels", result.conditioning_channels);
  result.conditioning_embedding_out_channels = json_value(
      config, "conditioning_embedding_out_channels", result.conditioning_embedding_out_channels);
  const auto& widths = result.conditioning_embedding_out_channels;
  if (widths.size() < 2 || widths.size() > 8) {
    refuse(fmt::format("conditioning_embedding_out_channels has {} numbers, expected 2 to 8",
                       widths.size()));
  }
  for (const auto width : widths) {
    if (!is_count(width, kLargestWidth)) {
      refuse(fmt::format("conditioning_embedding_out_channels has {}", width));
    }
  }
  if (result.conditioning_channels < 1 || result.conditioning_channels > 64) {
    refuse(fmt::format("conditioning_channels is {}", result.conditioning_channels));
  }
  const auto order =
      json_value<std::string>(config, "controlnet_conditioning_channel_order", "rgb");
  if (order != "rgb" && order != "bgr") {
    refuse(
        fmt::format("controlnet_conditioning_channel_order is \"{}\", expected rgb or bgr", order));
  }
  result.reads_bgr = order == "bgr";
  result.global_pool_conditions = json_value(config, "global_pool_conditions", false);
  return result;
}

ControlNetModelImpl::ControlNetModelImpl(const ControlNetConfig& config)
    : config_(config), encoder_(*this, config.unet) {
  encoder_.register_mid(*this);
  build_picture_embedding();
  build_zero_convolutions();
  const auto layers = encoder_.cross_attentions();
  cross_attentions_ = static_cast<std::int64_t>(layers.size());
  number_cross_attentions(layers, TextSlices::one_each(cross_attentions_));
}

/// diffusers' `ControlNetConditioningEmbedding`.
void ControlNetModelImpl::build_picture_embedding() {
  const auto& widths = config_.conditioning_embedding_out_channels;
  auto embedding =
      register_module("controlnet_cond_embedding", std::make_shared<torch::nn::Module>());
  picture_in_ =
      embedding->register_module("conv_in", conv3x3(config_.conditioning_channels, widths.front()));
  for (std::size_t i = 0; i + 1 < widths.size(); ++i) {
    picture_blocks_.push_back(conv3x3(widths[i], widths[i]));
    picture_blocks_.push_back(conv3x3(widths[i], widths[i + 1], /*stride=*/2));
  }
  register_list(*embedding, "blocks", picture_blocks_);
  picture_out_ = embedding->register_module(
      "conv_out", conv3x3(widths.back(), config_.unet.block_out_channels.front()));
}

void ControlNetModelImpl::build_zero_convolutions() {
  const auto& widths = config_.unet.block_out_channels;
  zero_down_.push_back(conv1x1(widths.front(), widths.front()));
  for (std::size_t level = 0; level < widths.size(); ++level) {
    const bool halves = level + 1 < widths.size();
    // What the down block of the level pushes (UNetDownBlock).
    const auto states = config_.unet.layers_per_block[level] + (halves ? 1 : 0);
    for (std::int64_t i = 0; i < states; ++i) {
      zero_down_.push_back(conv1x1(widths[level], widths[level]));
    }
  }
  register_list(*this, "controlnet_down_blocks", zero_down_);
  zero_mid_ = register_module("controlnet_mid_block", conv1x1(widths.back(), widths.back()));
}

Tensor ControlNetModelImpl::embed_picture(const Tensor& picture) {
  auto x = nn::silu(picture_in_(config_.reads_bgr ? picture.flip({1}) : picture));
  for (auto& block : picture_blocks_) x = nn::silu(block(x));
  return picture_out_(x);
}

ControlNetOutput ControlNetModelImpl::forward(const Tensor& sample, const Tensor& timesteps,
                                              const Conditioning& text, const Tensor& picture) {
  const auto own_context =
      // Its layers are the first of the U-Net's, in the same sequence.
      text.is_layerwise() ? text.context.narrow(1, 0, cross_attentions_) : text.context;
  const auto time = encoder_.embed_time(timesteps, sample);
  std::vector<Tensor> skips;
  auto x = encoder_.down(encoder_.embed_sample(sample) + picture, time, own_context, {}, skips);
  x = encoder_.mid(x, time, own_context);
  ControlNetOutput output;
  for (std::size_t i = 0; i < skips.size(); ++i) output.down.push_back(zero_down_[i](skips[i]));
  output.mid = zero_mid_(x);
  if (config_.global_pool_conditions) {
    // ControlNet 1.1's shuffle says what is in the picture, not where.
    for (auto& features : output.down) features = pooled(features);
    output.mid = pooled(output.mid);
  }
  return output;
}

std::vector<double> control_scales(std::size_t count, double scale, bool guess_mode) {
  std::vector<double> scales(count + 1, scale);
  if (!guess_mode) return scales;
  for (std::size_t i = 0; i <= count; ++i) {
    scales[i] *= std::pow(10.0, static_cast<double>(i) / static_cast<double>(count) - 1.0);
  }
  return scales;
}

}  // namespace mos::nn
