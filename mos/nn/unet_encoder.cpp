#include "mos/nn/unet_encoder.h"

#include <torch/nn/modules/container/modulelist.h>

#include <cmath>

#include "mos/nn/ops.h"

namespace mos::nn {

using torch::Tensor;
using torch::nn::ModuleList;

namespace {

constexpr double kMaxPeriod = 10000.0;      // Vaswani et al., section 3.5
constexpr std::int64_t kTimeExpansion = 4;  // diffusers: time_embed_dim = 4 · channels

}  // namespace

/// `DownBlock2D`, or `CrossAttnDownBlock2D` when it has attentions.
struct UNetDownBlock : torch::nn::Module {
  std::vector<ResnetBlock2D> resnets;
  std::vector<Transformer2DModel> attentions;
  Downsample2D downsampler{nullptr};

  void register_all() {
    register_list(*this, "attentions", attentions);
    register_list(*this, "resnets", resnets);
    if (!downsampler.is_empty()) {
      register_list(*this, "downsamplers", std::vector<Downsample2D>{downsampler});
    }
  }

  /// Pushes every state that the up blocks will read; `adapter` is added to the last of them
  /// before the downsampling.
  Tensor forward(Tensor x, const Tensor& time, const Tensor& context, const Tensor& adapter,
                 std::vector<Tensor>& skips) {
    for (std::size_t i = 0; i < resnets.size(); ++i) {
      x = resnets[i](x, time);
      if (!attentions.empty()) x = attentions[i](x, context);
      if (adapter.defined() && i + 1 == resnets.size()) x = x + adapter;
      skips.push_back(x);
    }
    if (!downsampler.is_empty()) {
      x = downsampler(x);
      skips.push_back(x);
    }
    return x;
  }
};

Tensor timestep_embedding(const Tensor& timesteps, std::int64_t channels,
                          const UNetConfig& config) {
  const auto half = channels / 2;
  const auto f32 = torch::TensorOptions().dtype(torch::kFloat32).device(timesteps.device());
  const auto exponent = -std::log(kMaxPeriod) * torch::arange(half, f32) /
                        (static_cast<double>(half) - config.freq_shift);
  // In float32 whatever the network computes in: bfloat16 cannot tell timestep 990 from 991.
  const auto angle = timesteps.to(torch::kFloat32).unsqueeze(-1) * exponent.exp();  // [B,half]
  const auto sine = angle.sin(), cosine = angle.cos();
  return config.flip_sin_to_cos ? torch::cat({cosine, sine}, -1) : torch::cat({sine, cosine}, -1);
}

std::int64_t time_channels_of(const UNetConfig& config) {
  return config.block_out_channels.front() * kTimeExpansion;
}

Transformer2DModel make_transformer(const UNetConfig& config, std::size_t level) {
  const auto channels = config.block_out_channels[level];
  return Transformer2DModel(Transformer2DSize{
      .attention = {.query_dim = channels,
                    .heads = config.heads[level],
                    .head_dim = channels / config.heads[level],
                    .cross_attention_dim = config.cross_attention_dim},
      .depth = config.transformer_depth[level],
      .norm_groups = config.norm_num_groups,
      .projection = config.use_linear_projection ? Projection::kLinear : Projection::kConvolution});
}

void collect_cross_attentions(const Transformer2DModel& transformer,
                              std::vector<Attention>& layers) {
  for (const auto& block : transformer->blocks) layers.push_back(block->attn2);
}

void number_cross_attentions(const std::vector<Attention>& layers, const TextSlices& slices) {
  TORCH_CHECK(slices.of_layer.size() == layers.size(), "texts for ", slices.of_layer.size(),
              " cross-attention layers, there are ", layers.size());
  for (std::size_t i = 0; i < layers.size(); ++i) {
    auto layer = layers[i];
    layer->cross_attention_index = static_cast<std::int64_t>(i);
    layer->text_slice = slices.of_layer[i];
    // So that a layer can refuse a text for another number of slices before it reads a wrong one.
    layer->text_count = slices.count;
  }
}

UNetEncoder::UNetEncoder(torch::nn::Module& owner, const UNetConfig& config) : config_(config) {
  const auto first = config.block_out_channels.front(), wide = time_channels_of(config);
  conv_in_ = owner.register_module(
      "conv_in", Conv2d(Conv2dOptions{.in_channels = config.in_channels, .out_channels = first}));
  auto time = owner.register_module("time_embedding", std::make_shared<torch::nn::Module>());
  time_linear1_ = time->register_module("linear_1", Linear(first, wide));
  time_linear2_ = time->register_module("linear_2", Linear(wide, wide));
  build_down(owner, wide);
}

void UNetEncoder::build_down(torch::nn::Module& owner, std::int64_t time_channels) {
  auto list = owner.register_module("down_blocks", ModuleList());
  auto in = config_.block_out_channels.front();
  const auto levels = config_.block_out_channels.size();
  for (std::size_t level = 0; level < levels; ++level) {
    const auto out = config_.block_out_channels[level];
    auto block = std::make_shared<UNetDownBlock>();
    for (std::int64_t i = 0; i < config_.layers_per_block[level]; ++i) {
      block->resnets.emplace_back(ResnetSize{.in_channels = i == 0 ? in : out,
                                             .out_channels = out,
                                             .groups = config_.norm_num_groups,
                                             .eps = config_.norm_eps,
                                             .time_channels = time_channels});
      if (config_.down_has_attention[level])
        block->attentions.push_back(make_transformer(config_, level));
    }
    if (level + 1 < levels) block->downsampler = Downsample2D(out, Downsampling::kSymmetric);
    block->register_all();
    list->push_back(block);
    down_.push_back(block);
    in = out;
  }
}

void UNetEncoder::register_mid(torch::nn::Module& owner) {
  const auto channels = config_.block_out_channels.back();
  auto mid = owner.register_module("mid_block", std::make_shared<torch::nn::Module>());
  mid_attention_ = make_transformer(config_, config_.block_out_channels.size() - 1);
  for (int i = 0; i < 2; ++i) {
    mid_resnets_.emplace_back(ResnetSize{.in_channels = channels,
                                         .out_channels = channels,
                                         .groups = config_.norm_num_groups,
                                         .eps = config_.norm_eps,
                                         .time_channels = time_channels_of(config_)});
  }
  register_list(*mid, "attentions", std::vector<Transformer2DModel>{mid_attention_});
  register_list(*mid, "resnets", mid_resnets_);
}

Tensor UNetEncoder::embed_time(const Tensor& timesteps, const Tensor& sample) {
  const auto embedding = timestep_embedding(timesteps.expand({sample.size(0)}),
                                            config_.block_out_channels.front(), config_)
                             .to(sample.scalar_type());
  return nn::silu(time_linear2_(nn::silu(time_linear1_(embedding))));
}

Tensor UNetEncoder::embed_sample(const Tensor& sample) {
  // Half-precision convolutions are 1.2 to 1.5 times faster on channels-last features.
  const bool reduced = sample.element_size() == 2;
  return conv_in_(reduced ? sample.contiguous(at::MemoryFormat::ChannelsLast) : sample);
}

Tensor UNetEncoder::down(Tensor x, const Tensor& time, const Tensor& context,
                         const std::vector<Tensor>& adapter, std::vector<Tensor>& skips) {
  skips.push_back(x);
  for (std::size_t i = 0; i < down_.size(); ++i) {
    x = down_[i]->forward(x, time, context, i < adapter.size() ? adapter[i] : Tensor(), skips);
  }
  return x;
}

Tensor UNetEncoder::mid(Tensor x, const Tensor& time, const Tensor& context) {
  x = mid_resnets_[0](x, time);
  x = mid_attention_(x, context);
  return mid_resnets_[1](x, time);
}

std::vector<Attention> UNetEncoder::cross_attentions() const {
  std::vector<Attention> layers;
  for (const auto& block : down_) {
    for (const auto& transformer : block->attentions) collect_cross_attentions(transformer, layers);
  }
  collect_cross_attentions(mid_attention_, layers);
  return layers;
}

}  // namespace mos::nn
