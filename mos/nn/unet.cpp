#include "mos/nn/unet.h"

#include <torch/nn/modules/container/modulelist.h>

#include <cmath>
#include <numbers>

#include "mos/base/error.h"
#include "mos/nn/ops.h"

namespace mos::nn {

using torch::Tensor;
using torch::nn::ModuleList;

namespace {

constexpr double kMaxPeriod = 10000.0;      // Vaswani et al., section 3.5
constexpr std::int64_t kTimeExpansion = 4;  // diffusers: time_embed_dim = 4 · channels

template <typename T>
void register_list(torch::nn::Module& owner, const std::string& name,
                   const std::vector<T>& layers) {
  if (layers.empty()) return;
  auto list = owner.register_module(name, ModuleList());
  for (const auto& layer : layers) list->push_back(layer);
}

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

/// `UpBlock2D`, or `CrossAttnUpBlock2D` when it has attentions.
struct UNetUpBlock : torch::nn::Module {
  std::vector<ResnetBlock2D> resnets;
  std::vector<Transformer2DModel> attentions;
  Upsample2D upsampler{nullptr};

  void register_all() {
    register_list(*this, "attentions", attentions);
    register_list(*this, "resnets", resnets);
    if (!upsampler.is_empty()) {
      register_list(*this, "upsamplers", std::vector<Upsample2D>{upsampler});
    }
  }

  /// Pops one skip for each resnet, and enlarges to the size of the next skip.
  Tensor forward(Tensor x, const Tensor& time, const Tensor& context, std::vector<Tensor>& skips) {
    for (std::size_t i = 0; i < resnets.size(); ++i) {
      x = resnets[i](torch::cat({x, skips.back()}, 1), time);
      skips.pop_back();
      if (!attentions.empty()) x = attentions[i](x, context);
    }
    if (upsampler.is_empty()) return x;
    return upsampler(x, skips.back().size(2), skips.back().size(3));
  }
};

Tensor timestep_embedding(const Tensor& timesteps, std::int64_t channels,
                          const UNetConfig& config) {
  const auto half = channels / 2;
  const auto f32 = torch::TensorOptions().dtype(torch::kFloat32).device(timesteps.device());
  const auto exponent = -std::log(kMaxPeriod) * torch::arange(half, f32) /
                        (static_cast<double>(half) - config.freq_shift);
  const auto angle = timesteps.to(torch::kFloat32).unsqueeze(-1) * exponent.exp();  // [B,half]
  const auto sine = angle.sin(), cosine = angle.cos();
  return config.flip_sin_to_cos ? torch::cat({cosine, sine}, -1) : torch::cat({sine, cosine}, -1);
}

UNet2DConditionModelImpl::UNet2DConditionModelImpl(const UNetConfig& config) : config_(config) {
  const auto first = config.block_out_channels.front();
  const auto time_channels = first * kTimeExpansion;

  conv_in_ = register_module(
      "conv_in", Conv2d(Conv2dOptions{.in_channels = config.in_channels, .out_channels = first}));
  auto time = register_module("time_embedding", std::make_shared<torch::nn::Module>());
  time_linear1_ = time->register_module("linear_1", Linear(first, time_channels));
  time_linear2_ = time->register_module("linear_2", Linear(time_channels, time_channels));
  build_down(time_channels);
  build_up(time_channels);
  build_mid(time_channels);
  conv_norm_out_ =
      register_module("conv_norm_out", GroupNorm(config.norm_num_groups, first, config.norm_eps));
  conv_out_ = register_module(
      "conv_out", Conv2d(Conv2dOptions{.in_channels = first, .out_channels = config.out_channels}));
  number_cross_attentions();
}

Transformer2DModel UNet2DConditionModelImpl::make_transformer(std::size_t level) const {
  const auto channels = config_.block_out_channels[level];
  return Transformer2DModel(
      Transformer2DSize{.attention = {.query_dim = channels,
                                      .heads = config_.heads[level],
                                      .head_dim = channels / config_.heads[level],
                                      .cross_attention_dim = config_.cross_attention_dim},
                        .depth = config_.transformer_depth[level],
                        .norm_groups = config_.norm_num_groups,
                        .projection = config_.use_linear_projection ? Projection::kLinear
                                                                    : Projection::kConvolution});
}

void UNet2DConditionModelImpl::build_down(std::int64_t time_channels) {
  auto list = register_module("down_blocks", ModuleList());
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
      if (config_.down_has_attention[level]) block->attentions.push_back(make_transformer(level));
    }
    if (level + 1 < levels) block->downsampler = Downsample2D(out, Downsampling::kSymmetric);
    block->register_all();
    list->push_back(block);
    down_.push_back(block);
    in = out;
  }
}

void UNet2DConditionModelImpl::build_mid(std::int64_t time_channels) {
  const auto channels = config_.block_out_channels.back();
  auto mid = register_module("mid_block", std::make_shared<torch::nn::Module>());
  mid_attention_ = make_transformer(config_.block_out_channels.size() - 1);
  for (int i = 0; i < 2; ++i) {
    mid_resnets_.emplace_back(ResnetSize{.in_channels = channels,
                                         .out_channels = channels,
                                         .groups = config_.norm_num_groups,
                                         .eps = config_.norm_eps,
                                         .time_channels = time_channels});
  }
  register_list(*mid, "attentions", std::vector<Transformer2DModel>{mid_attention_});
  register_list(*mid, "resnets", mid_resnets_);
}

void UNet2DConditionModelImpl::build_up(std::int64_t time_channels) {
  auto list = register_module("up_blocks", ModuleList());
  const auto levels = config_.block_out_channels.size();
  auto previous = config_.block_out_channels.back();
  for (std::size_t position = 0; position < levels; ++position) {
    const auto level = levels - 1 - position;
    const auto out = config_.block_out_channels[level];
    const auto below = config_.block_out_channels[level == 0 ? 0 : level - 1];
    const auto count = config_.layers_per_block[level] + 1;
    auto block = std::make_shared<UNetUpBlock>();
    for (std::int64_t i = 0; i < count; ++i) {
      const auto skip = i + 1 == count ? below : out;
      block->resnets.emplace_back(ResnetSize{.in_channels = (i == 0 ? previous : out) + skip,
                                             .out_channels = out,
                                             .groups = config_.norm_num_groups,
                                             .eps = config_.norm_eps,
                                             .time_channels = time_channels});
      if (config_.up_has_attention[position]) block->attentions.push_back(make_transformer(level));
    }
    if (position + 1 < levels) block->upsampler = Upsample2D(out);
    block->register_all();
    list->push_back(block);
    up_.push_back(block);
    previous = out;
  }
}

void UNet2DConditionModelImpl::number_cross_attentions() {
  const auto collect = [this](const Transformer2DModel& transformer) {
    for (const auto& block : transformer->blocks) cross_attentions_.push_back(block->attn2);
  };
  for (const auto& block : down_) {
    for (const auto& transformer : block->attentions) collect(transformer);
  }
  collect(mid_attention_);
  for (const auto& block : up_) {
    for (const auto& transformer : block->attentions) collect(transformer);
  }
  for (std::size_t i = 0; i < cross_attentions_.size(); ++i) {
    cross_attentions_[i]->cross_attention_index = static_cast<std::int64_t>(i);
    cross_attentions_[i]->cross_attention_count = cross_attention_count();
  }
}

std::vector<std::string> UNet2DConditionModelImpl::cross_attention_names() const {
  std::vector<std::string> names(cross_attentions_.size());
  for (const auto& item : named_modules(std::string(), /*include_self=*/false)) {
    const auto* layer = dynamic_cast<const AttentionImpl*>(item.value().get());
    if (layer != nullptr && layer->cross_attention_index >= 0) {
      names[static_cast<std::size_t>(layer->cross_attention_index)] = item.key();
    }
  }
  return names;
}

Tensor UNet2DConditionModelImpl::forward(const Tensor& sample, const Tensor& timesteps,
                                         const Tensor& context, const UNetResiduals& residuals) {
  const auto embedding = timestep_embedding(timesteps.expand({sample.size(0)}),
                                            config_.block_out_channels.front(), config_)
                             .to(sample.scalar_type());
  const auto time =
      nn::silu(time_linear2_(nn::silu(time_linear1_(embedding))));  // [B,T], activated

  // Half-precision convolutions are 1.2 to 1.5 times faster on channels-last features.
  const bool reduced = sample.element_size() == 2;
  auto x = conv_in_(reduced ? sample.contiguous(at::MemoryFormat::ChannelsLast) : sample);
  std::vector<Tensor> skips = {x};
  for (std::size_t i = 0; i < down_.size(); ++i) {
    const auto adapter = i < residuals.adapter.size() ? residuals.adapter[i] : Tensor();
    x = down_[i]->forward(x, time, context, adapter, skips);
  }
  TORCH_CHECK(residuals.control_down.empty() || residuals.control_down.size() == skips.size(),
              "ControlNet gave ", residuals.control_down.size(), " residuals for ", skips.size(),
              " skip connections");
  for (std::size_t i = 0; i < residuals.control_down.size(); ++i) {
    skips[i] = skips[i] + residuals.control_down[i];
  }

  x = mid_resnets_[0](x, time);
  x = mid_attention_(x, context);
  x = mid_resnets_[1](x, time);
  if (residuals.control_mid.defined()) x = x + residuals.control_mid;

  for (auto& block : up_) x = block->forward(x, time, context, skips);
  return conv_out_(conv_norm_out_(x, Activation::kSilu));
}

}  // namespace mos::nn
