#include "mos/nn/attention.h"

#include <fmt/core.h>
#include <torch/nn/modules/container/modulelist.h>

#include "mos/base/error.h"
#include "mos/nn/ops.h"

namespace mos::nn {

using torch::Tensor;

Tensor AttentionProcessor::identity(AttentionImpl& attention, const Tensor& hidden_states) {
  return attention.output(attention.key_value(hidden_states).value);
}

AttentionImpl::AttentionImpl(const AttentionSize& size)
    : cross_attention_(size.cross_attention_dim.has_value()),
      heads_(size.heads),
      head_dim_(size.head_dim) {
  const auto inner = size.heads * size.head_dim;
  const auto source = size.cross_attention_dim.value_or(size.query_dim);
  to_q_ = register_module("to_q", Linear(size.query_dim, inner, Bias::kNone));
  to_k_ = register_module("to_k", Linear(source, inner, Bias::kNone));
  to_v_ = register_module("to_v", Linear(source, inner, Bias::kNone));

  out_ = Linear(inner, size.query_dim);
  auto to_out = register_module("to_out", torch::nn::ModuleList());
  to_out->push_back(out_);  // index 0; diffusers' index 1 is a dropout without parameters
}

Tensor AttentionImpl::forward(const Tensor& hidden_states, const Tensor& context,
                              const Tensor& residual) {
  // A processor may not know residuals: it gives what diffusers' processors give.
  if (processor) {
    const auto y = processor->process(*this, hidden_states, context);
    return residual.defined() ? y + residual : y;
  }
  if (!context.defined()) {
    const auto [k, v] = key_value(hidden_states);
    return output(attention(query(hidden_states), k, v), residual);
  }
  // Neighbours that read the same text are one sample with all their positions.
  const auto source = context_of_layer(context);
  const auto together = [&](const Tensor& x) {
    return x.defined() ? x.reshape({source.size(0), -1, x.size(2)}) : x;
  };
  const auto [k, v] = key_value(source);
  return output(attention(query(together(hidden_states)), k, v), together(residual))
      .view_as(hidden_states);
}

Tensor AttentionImpl::query(const Tensor& hidden_states) {
  return split_heads(to_q_(hidden_states));
}

KeyValue AttentionImpl::key_value(const Tensor& source) {
  return {split_heads(to_k_(source)), split_heads(to_v_(source))};
}

Tensor AttentionImpl::output(const Tensor& mixed, const Tensor& residual) {
  return out_->forward(mixed.transpose(1, 2).flatten(2), residual);  // [B,N,heads·D]
}

Tensor AttentionImpl::context_of_layer(const Tensor& context) const {
  if (context.dim() != 4) return context;
  if (context.size(1) != text_count) {
    throw Error(ErrorKind::kMismatch,
                fmt::format("text features have {} layers, but this U-Net has {} cross-attention "
                            "layers; the concept was tuned on another architecture",
                            context.size(1), text_count));
  }
  return context.select(1, text_slice);
}

Tensor AttentionImpl::split_heads(const Tensor& x) const {
  return x.view({x.size(0), x.size(1), heads_, head_dim_}).transpose(1, 2);
}

FeatureSize feature_size(std::int64_t latent_height, std::int64_t latent_width,
                         std::int64_t positions) {
  auto height = latent_height, width = latent_width;
  // Halvings are the only way to smaller features, so the first that fits is the one.
  while (height * width > positions) {
    height = (height + 1) / 2;
    width = (width + 1) / 2;
  }
  TORCH_CHECK(height * width == positions, "features of ", positions,
              " positions do not belong to latents of ", latent_height, "x", latent_width);
  return {height, width};
}

ScopedProcessor::ScopedProcessor(std::vector<Attention> layers,
                                 std::shared_ptr<AttentionProcessor> processor)
    : layers_(std::move(layers)) {
  for (auto& layer : layers_) {
    former_.push_back(layer->processor);
    layer->processor = processor;
  }
}

ScopedProcessor::~ScopedProcessor() {
  for (std::size_t i = 0; i < layers_.size(); ++i) layers_[i]->processor = former_[i];
}

}  // namespace mos::nn
