#include "mos/diffusion/perturbed_attention.h"

#include <utility>

namespace mos::diffusion {
namespace {

using torch::Tensor;

class PerturbedProcessor : public nn::AttentionProcessor {
 public:
  PerturbedProcessor(double share, std::shared_ptr<nn::AttentionProcessor> former)
      : share_(share), former_(std::move(former)) {}

  Tensor process(nn::AttentionImpl& attention, const Tensor& hidden_states,
                 const Tensor& context) override {
    const auto unconditional = hidden_states.size(0) / 2;
    const auto first = [&](const Tensor& x) { return x.narrow(0, 0, unconditional); };
    if (former_ == nullptr) {
      const auto [k, v] = attention.key_value(hidden_states);
      auto mixed = nn::attention(attention.query(hidden_states), k, v);
      first(mixed).lerp_(first(v), share_);
      return attention.output(mixed);
    }
    // What comes after the mixing is affine, so the share of outputs is that of mixtures.
    auto output = former_->process(attention, hidden_states, context);
    first(output).lerp_(former_->identity(attention, first(hidden_states)), share_);
    return output;
  }

 private:
  double share_;
  std::shared_ptr<nn::AttentionProcessor> former_;
};

}  // namespace

PerturbedAttention::PerturbedAttention(const nn::UNet2DConditionModel& unet, double share) {
  for (const auto& layer : unet->self_attentions()) {
    installed_.push_back(std::make_unique<nn::ScopedProcessor>(
        std::vector<nn::Attention>{layer},
        std::make_shared<PerturbedProcessor>(share, layer->processor)));
  }
}

PerturbedAttention::~PerturbedAttention() {
  while (!installed_.empty()) installed_.pop_back();
}

}  // namespace mos::diffusion
