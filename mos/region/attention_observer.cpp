#include "mos/region/attention_observer.h"

#include <charconv>
#include <cmath>
#include <string_view>
#include <utility>

namespace mos::region {

using torch::Tensor;

struct AttentionObserver::Shared {
  std::vector<ObservedText> texts;
  nn::FeatureSize latents;
  std::vector<SeenLayer> seen;
};

namespace {

/// The number behind `block` in a dotted name, or -1.
std::int64_t number_after(std::string_view name, std::string_view block) {
  const auto at = name.find(block);
  std::int64_t number = -1;
  if (at == name.npos) return number;
  const auto* begin = name.data() + at + block.size();
  std::from_chars(begin, name.data() + name.size(), number);
  return number;
}

LayerPlace place_of(const std::string& name, std::int64_t levels, bool is_cross) {
  const auto down = number_after(name, "down_blocks."), up = number_after(name, "up_blocks.");
  const bool is_mid = down < 0 && up < 0;
  const auto level = is_mid ? levels - 1 : down >= 0 ? down : levels - 1 - up;
  return {name, level, is_cross, is_mid, up >= 0};
}

/// softmax(q kᵀ/√D) of one picture, [heads,N,M] float32.
Tensor looks(const Tensor& query, const Tensor& key) {
  const double scale = 1.0 / std::sqrt(static_cast<double>(query.size(3)));
  const auto scores = torch::matmul(query[0] * scale, key[0].transpose(-2, -1));
  return torch::softmax(scores, -1, torch::kFloat32);
}

/// Keeps what a layer sees and leaves what it does to `former`.
class ObservingProcessor : public nn::AttentionProcessor {
 public:
  ObservingProcessor(std::shared_ptr<AttentionObserver::Shared> shared, LayerPlace place,
                     std::shared_ptr<nn::AttentionProcessor> former)
      : shared_(std::move(shared)), place_(std::move(place)), former_(std::move(former)) {}

  Tensor process(nn::AttentionImpl& attention, const Tensor& hidden_states,
                 const Tensor& context) override {
    TORCH_CHECK(hidden_states.size(0) == 1, "attention is observed for one picture at a time");
    const auto& [latent_height, latent_width] = shared_->latents;
    SeenLayer seen;
    seen.place = place_;
    seen.size = nn::feature_size(latent_height, latent_width, hidden_states.size(1));
    const auto query = attention.query(hidden_states);
    if (place_.is_cross) {
      for (const auto& text : shared_->texts) {
        const auto source = attention.context_of_layer(text.context).to(query.scalar_type());
        const auto key = own_key_value(attention, source, text.own.get()).key;
        const auto asked =
            text.own == nullptr ? query : own_query(attention, query, hidden_states, *text.own);
        seen.texts.push_back(looks(asked, key));
      }
    } else {
      seen.self = looks(query, attention.key_value(hidden_states).key);
    }
    const auto output = as_before(attention, hidden_states, context);
    seen.output = output[0];
    shared_->seen.push_back(std::move(seen));
    return output;
  }

 private:
  Tensor as_before(nn::AttentionImpl& attention, const Tensor& hidden_states,
                   const Tensor& context) {
    const auto mine = std::exchange(attention.processor, former_);
    const auto output = attention.forward(hidden_states, context);
    attention.processor = mine;
    return output;
  }

  std::shared_ptr<AttentionObserver::Shared> shared_;
  LayerPlace place_;
  std::shared_ptr<nn::AttentionProcessor> former_;
};

}  // namespace

std::vector<std::pair<LayerPlace, nn::Attention>> attention_layers(nn::UNet2DConditionModel& unet) {
  const auto levels = static_cast<std::int64_t>(unet->config().block_out_channels.size());
  std::vector<std::pair<LayerPlace, nn::Attention>> layers;
  std::int64_t first_up = -1;
  for (const auto& module : unet->named_modules(std::string(), /*include_self=*/false)) {
    const auto attention = std::dynamic_pointer_cast<nn::AttentionImpl>(module.value());
    if (attention == nullptr) continue;
    auto place = place_of(module.key(), levels, attention->is_cross_attention());
    const auto up = number_after(place.name, "up_blocks.");
    if (first_up < 0) first_up = up;
    place.is_first_up = up >= 0 && up == first_up;
    layers.emplace_back(std::move(place), nn::Attention(attention));
  }
  return layers;
}

AttentionObserver::AttentionObserver(nn::UNet2DConditionModel unet, std::vector<ObservedText> texts,
                                     nn::FeatureSize latents, const Choice& choice)
    : shared_(std::make_shared<Shared>()) {
  shared_->texts = std::move(texts);
  shared_->latents = latents;
  for (const auto& [place, layer] : attention_layers(unet)) {
    if (!choice(place)) continue;
    installed_.push_back(std::make_unique<nn::ScopedProcessor>(
        std::vector<nn::Attention>{layer},
        std::make_shared<ObservingProcessor>(shared_, place, layer->processor)));
  }
}

AttentionObserver::~AttentionObserver() {
  while (!installed_.empty()) installed_.pop_back();
}

std::vector<SeenLayer> AttentionObserver::take() { return std::exchange(shared_->seen, {}); }

}  // namespace mos::region
