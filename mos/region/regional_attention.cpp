#include "mos/region/regional_attention.h"

#include <fmt/core.h>

#include <utility>

#include "mos/base/error.h"
#include "mos/nn/ops.h"

namespace mos::region {

using torch::Tensor;

namespace {

/// The part of a map [B,heads,h,w,D] inside `box`; a view.
Tensor crop(const Tensor& map, const FeatureBox& box) {
  return map.slice(2, box.top, box.bottom).slice(3, box.left, box.right);
}

}  // namespace

RegionalAttention::RegionalAttention(std::vector<RegionContext> regions, std::int64_t latent_height,
                                     std::int64_t latent_width, std::int64_t pictures)
    : regions_(std::move(regions)),
      latent_height_(latent_height),
      latent_width_(latent_width),
      pictures_(pictures) {}

const std::vector<nn::KeyValue>& RegionalAttention::region_key_values(nn::AttentionImpl& attention,
                                                                      std::int64_t batch) {
  auto& cached = key_values_[&attention];
  if (!cached.empty()) return cached;
  for (const auto& region : regions_) {
    const auto source = attention.context_of_layer(region.text.context);
    // Of each guidance half.
    const auto pictures = pictures_ > 0 ? pictures_ : batch / source.size(0);
    const auto [key, value] = attention.key_value(source);
    cached.push_back({key.repeat_interleave(pictures, 0), value.repeat_interleave(pictures, 0)});
  }
  return cached;
}

Tensor RegionalAttention::process(nn::AttentionImpl& attention, const Tensor& hidden_states,
                                  const Tensor& context) {
  const auto query = attention.query(hidden_states);  // [B,heads,N,D]
  const auto [height, width] = nn::feature_size(latent_height_, latent_width_, query.size(2));
  const auto [key, value] = attention.key_value(attention.context_of_layer(context));
  auto mixed = nn::attention(query, key, value);  // the context, everywhere
  const auto& of_regions = region_key_values(attention, query.size(0));
  // A call without guidance has the second half of the pictures, those with the prompt.
  const auto wanted = [batch = query.size(0)](const Tensor& all) {
    return all.size(0) == batch ? all : all.slice(0, all.size(0) - batch);
  };

  const auto as_map = [&, h = height, w = width](const Tensor& x) {
    return x.unflatten(2, {h, w});
  };
  const auto query_map = as_map(query), context_map = as_map(mixed);
  auto sum = torch::zeros_like(context_map);
  auto cover = torch::zeros({height, width, 1}, mixed.options());
  for (std::size_t i = 0; i < regions_.size(); ++i) {
    const auto box = on_features(regions_[i].box, height, width);
    if (box.empty()) continue;  // smaller than one position of this layer
    const auto inside = crop(query_map, box);
    auto own =
        nn::attention(inside.flatten(2, 3), wanted(of_regions[i].key), wanted(of_regions[i].value))
            .unflatten(2, {inside.size(2), inside.size(3)});
    const auto weight = regions_[i].weight;
    if (weight < 1.0) own = weight * own + (1.0 - weight) * crop(context_map, box);
    crop(sum, box).add_(own);
    cover.slice(0, box.top, box.bottom).slice(1, box.left, box.right).add_(1.0);
  }
  const auto covered = cover > 0;
  const auto result = torch::where(covered, sum / cover.clamp_min(1.0), context_map);
  return attention.output(result.flatten(2, 3));
}

}  // namespace mos::region
