#include "mos/region/own_updates.h"

#include <fmt/core.h>

#include <array>
#include <string_view>

#include "mos/base/error.h"
#include "mos/concepts/lora.h"
#include "mos/nn/linear.h"
#include "mos/nn/linear_product.h"

namespace mos::region {

using torch::Tensor;

namespace {

struct ProjectionName {
  Projection projection;
  std::string_view ending;  ///< diffusers'.
};

constexpr auto kProjections = std::to_array<ProjectionName>({{Projection::kQuery, ".to_q"},
                                                             {Projection::kKey, ".to_k"},
                                                             {Projection::kValue, ".to_v"},
                                                             {Projection::kOutput, ".to_out.0"}});

using Place = std::pair<const nn::AttentionImpl*, Projection>;

/// The projections of all attention layers by the names of their weights.
std::map<std::string, Place> places_of(nn::UNet2DConditionModel& unet) {
  std::map<std::string, Place> places;
  for (const auto& module : unet->named_modules()) {
    const auto* attention = dynamic_cast<const nn::AttentionImpl*>(module.value().get());
    if (attention == nullptr) continue;
    for (const auto& [projection, ending] : kProjections) {
      places.emplace(module.key() + std::string(ending), Place(attention, projection));
    }
  }
  return places;
}

OwnUpdates::Term term_of(const nn::LoraLayer& layer, const concepts::LayerUpdate& update,
                         double merge_scale) {
  const auto& weight = layer.weight;
  const auto kept = [&](const Tensor& x) {
    return x.to(weight.device(), nn::working_dtype(weight));
  };
  OwnUpdates::Term term;
  if (const auto pair = update.as_pair()) {
    auto down_shape = weight.sizes().vec();
    down_shape.front() = pair->down.size(0);
    term.down = kept(pair->down.reshape(down_shape));
    term.up = kept(pair->up.flatten(1).to(torch::kFloat32) * (pair->scale * merge_scale));
  } else {
    term.up = kept(update.difference(weight, merge_scale).view(weight.sizes()));
  }
  const auto bias = update.bias_difference();
  if (bias.defined()) term.bias = kept(bias * merge_scale);
  return term;
}

/// Of a layer that reads rows.
OwnUpdates::Term flat(OwnUpdates::Term term) {
  if (term.down.defined()) term.down = term.down.flatten(1);
  term.up = term.up.flatten(1);
  return term;
}

constexpr std::string_view kOfTime = ".time_emb_proj";

/// The convolution of the same residual block that adds what `layer` says; null for other layers.
nn::LoraLayer* adder_of(nn::UNet2DConditionModel& unet, const std::string& layer) {
  nn::LoraLayer* found = nullptr;
  if (!layer.ends_with(kOfTime)) return found;
  const auto wanted = layer.substr(0, layer.size() - kOfTime.size()) + ".conv1";
  nn::for_each_lora_layer(*unet, [&](const std::string& name, nn::LoraLayer& one) {
    if (name == wanted) found = &one;
  });
  return found;
}

Tensor sum_of(const Tensor& x, const Tensor& change) { return change.defined() ? x + change : x; }

/// What `own` changes in a projection of `rows` [B,N,C] into heads: [B,heads,N,D], or undefined.
Tensor own_heads(const nn::AttentionImpl& attention, Projection projection, const Tensor& rows,
                 const OwnUpdates& own) {
  const auto change = own.change(attention, projection, rows);
  if (!change.defined()) return {};
  return change.unflatten(2, {attention.heads(), attention.head_dim()}).transpose(1, 2);
}

}  // namespace

bool has_positions(const std::string& unet_layer) {
  return !unet_layer.starts_with("time_embedding.");
}

void OwnUpdates::add(nn::UNet2DConditionModel& unet, const concepts::LayerUpdates& updates,
                     double merge_scale, const std::string& origin) {
  const auto places = places_of(unet);
  const auto layers = concepts::find_layers(*unet, updates, origin);
  std::size_t i = 0;
  for (const auto& [name, update] : updates) {
    if (!has_positions(name)) {
      throw Error(ErrorKind::kMismatch,
                  fmt::format("{} changes {}, which has no positions in the picture: its update "
                              "cannot be added to a region alone",
                              origin, name));
    }
    auto* layer = layers[i++];
    const auto place = places.find(name);
    if (place != places.end()) {
      terms_[place->second].push_back(flat(term_of(*layer, update, merge_scale)));
      continue;
    }
    layers_[layer].push_back(term_of(*layer, update, merge_scale));
    if (auto* adder = adder_of(unet, name)) adders_[layer] = adder;
  }
}

bool OwnUpdates::changes(const nn::AttentionImpl& attention) const {
  const auto first = terms_.lower_bound({&attention, Projection::kQuery});
  return first != terms_.end() && first->first.first == &attention;
}

Tensor change_rows(const std::vector<OwnUpdates::Term>& terms, const Tensor& rows) {
  Tensor sum;
  for (const auto& [down, up, bias] : terms) {
    const auto inner = down.defined() ? nn::linear_product(rows, nn::cast_like(down, rows)) : rows;
    const auto change = nn::linear_product(inner, nn::cast_like(up, rows),
                                           bias.defined() ? nn::cast_like(bias, rows) : bias);
    sum = sum.defined() ? sum + change : change;
  }
  return sum;
}

Tensor OwnUpdates::change(const nn::AttentionImpl& attention, Projection projection,
                          const Tensor& rows) const {
  const auto found = terms_.find({&attention, projection});
  return found == terms_.end() ? Tensor() : change_rows(found->second, rows);
}

nn::KeyValue own_key_value(nn::AttentionImpl& attention, const Tensor& source,
                           const OwnUpdates* own) {
  auto [key, value] = attention.key_value(source);
  if (own == nullptr) return {key, value};
  return {sum_of(key, own_heads(attention, Projection::kKey, source, *own)),
          sum_of(value, own_heads(attention, Projection::kValue, source, *own))};
}

Tensor own_query(const nn::AttentionImpl& attention, const Tensor& query, const Tensor& rows,
                 const OwnUpdates& own) {
  return sum_of(query, own_heads(attention, Projection::kQuery, rows, own));
}

}  // namespace mos::region
