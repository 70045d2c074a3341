#include "mos/nn/unet.h"

#include <torch/nn/modules/container/modulelist.h>

#include <utility>

#include "mos/nn/ops.h"

namespace mos::nn {

using torch::Tensor;
using torch::nn::ModuleList;

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
    // Not twice the size: features of an odd side were halved by rounding up.
    return upsampler(x, skips.back().size(2), skips.back().size(3));
  }
};

UNet2DConditionModelImpl::UNet2DConditionModelImpl(const UNetConfig& config)
    : config_(config), encoder_(*this, config) {
  const auto first = config.block_out_channels.front();
  build_up();
  // Modules are visited as they were registered, and diffusers has mid_block behind up_blocks.
  encoder_.register_mid(*this);
  conv_norm_out_ =
      register_module("conv_norm_out", GroupNorm(config.norm_num_groups, first, config.norm_eps));
  conv_out_ = register_module(
      "conv_out", Conv2d(Conv2dOptions{.in_channels = first, .out_channels = config.out_channels}));

  cross_attentions_ = encoder_.cross_attentions();
  for (const auto& block : up_) {
    for (const auto& transformer : block->attentions) {
      collect_cross_attentions(transformer, cross_attentions_);
    }
  }
  set_text_slices(TextSlices::one_each(cross_attention_count()));
}

void UNet2DConditionModelImpl::set_text_slices(TextSlices slices) {
  number_cross_attentions(cross_attentions_, slices);
  text_slices_ = std::move(slices);
}

void UNet2DConditionModelImpl::build_up() {
  auto list = register_module("up_blocks", ModuleList());
  const auto levels = config_.block_out_channels.size();
  auto previous = config_.block_out_channels.back();
  for (std::size_t position = 0; position < levels; ++position) {
    const auto level = levels - 1 - position;
    const auto out = config_.block_out_channels[level];
    const auto below = config_.block_out_channels[level == 0 ? 0 : level - 1];
    // One more than the down block of the level: the skip of its halving, or of conv_in, is read
    // too.
    const auto count = config_.layers_per_block[level] + 1;
    auto block = std::make_shared<UNetUpBlock>();
    for (std::int64_t i = 0; i < count; ++i) {
      // The last skip of a level was made before its first resnet widened it.
      const auto skip = i + 1 == count ? below : out;
      block->resnets.emplace_back(ResnetSize{.in_channels = (i == 0 ? previous : out) + skip,
                                             .out_channels = out,
                                             .groups = config_.norm_num_groups,
                                             .eps = config_.norm_eps,
                                             .time_channels = time_channels_of(config_)});
      if (config_.up_has_attention[position])
        block->attentions.push_back(make_transformer(config_, level));
    }
    if (position + 1 < levels) block->upsampler = Upsample2D(out);
    block->register_all();
    list->push_back(block);
    up_.push_back(block);
    previous = out;
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

std::vector<Attention> UNet2DConditionModelImpl::self_attentions() const {
  std::vector<Attention> layers;
  for (const auto& module : modules(/*include_self=*/false)) {
    const auto layer = std::dynamic_pointer_cast<AttentionImpl>(module);
    if (layer != nullptr && !layer->is_cross_attention()) layers.emplace_back(layer);
  }
  return layers;
}

Tensor UNet2DConditionModelImpl::forward(const Tensor& sample, const Tensor& timesteps,
                                         const Conditioning& text, const UNetResiduals& residuals) {
  // A text that is not read would be a picture that silently misses it.
  TORCH_CHECK(!text.pooled.defined() && !text.time_ids.defined(),
              "this U-Net reads no pooled text and no sizes");
  const auto& context = text.context;
  const auto time = encoder_.embed_time(timesteps, sample);
  std::vector<Tensor> skips;
  auto x = encoder_.down(encoder_.embed_sample(sample), time, context, residuals.adapter, skips);
  TORCH_CHECK(residuals.control_down.empty() || residuals.control_down.size() == skips.size(),
              "ControlNet gave ", residuals.control_down.size(), " residuals for ", skips.size(),
              " skip connections");
  for (std::size_t i = 0; i < residuals.control_down.size(); ++i) {
    // Not in place: the encoder's features belong to the graph of the gradient.
    skips[i] = skips[i] + residuals.control_down[i];
  }

  x = encoder_.mid(x, time, context);
  if (residuals.control_mid.defined()) x = x + residuals.control_mid;

  for (auto& block : up_) x = block->forward(x, time, context, skips);
  return conv_out_(conv_norm_out_(x, Activation::kSilu));
}

}  // namespace mos::nn
