#include "mos/region/masked_attention.h"

#include "mos/nn/ops.h"
#include "mos/region/region_mask.h"

namespace mos::region {

using torch::Tensor;

namespace {

bool is_on(const MaskedContext& region, double progress) {
  return progress >= region.start && progress < region.end;
}

/// Positions where a flat map is not 0.
Tensor positions_of(const Tensor& map) { return map.nonzero().flatten(); }

}  // namespace

MaskedAttention::MaskedAttention(std::shared_ptr<const MaskedRegions> scene)
    : scene_(std::move(scene)) {}

MaskedAttention::Shares MaskedAttention::make_shares(std::int64_t height, std::int64_t width,
                                                     torch::Device device) const {
  std::vector<Tensor> maps;  // [N] each
  auto total = torch::zeros({height * width}), left = torch::ones({height * width});
  for (const auto& region : scene_->regions) {
    auto map = is_on(region, scene_->progress)
                   ? mask_on_features(region.mask, height, width).flatten()
                   : torch::zeros({height * width});
    if (scene_->overlap == Overlap::kFront) map = map * left;
    left = left - map;
    total = total + map;
    maps.push_back(map);
  }
  if (scene_->overlap == Overlap::kMean) {
    for (auto& map : maps) map = map / total.clamp_min(1.0);
  }
  Shares shares;
  for (std::size_t i = 0; i < maps.size(); ++i) {
    const auto positions = positions_of(maps[i]);
    const auto weights = maps[i].index_select(0, positions) *
                         (scene_->regions[i].weight * (1.0 - scene_->base_ratio));
    shares.push_back({positions.to(device), weights.unsqueeze(1).to(device)});
  }
  return shares;
}

const MaskedAttention::Shares& MaskedAttention::shares_at(std::int64_t height, std::int64_t width,
                                                          torch::Device device) {
  std::vector<bool> on;
  for (const auto& region : scene_->regions) on.push_back(is_on(region, scene_->progress));
  const auto key = std::pair(height * width, on);
  auto found = shares_.find(key);
  if (found == shares_.end()) {
    found = shares_.emplace(key, make_shares(height, width, device)).first;
  }
  return found->second;
}

const std::vector<nn::KeyValue>& MaskedAttention::key_values(nn::AttentionImpl& attention) {
  auto& cached = key_values_[&attention];
  if (!cached.empty()) return cached;
  for (const auto& region : scene_->regions) {
    const auto source = attention.context_of_layer(region.context);
    const auto [key, value] = attention.key_value(source);
    cached.push_back(
        {key.repeat_interleave(scene_->pictures, 0), value.repeat_interleave(scene_->pictures, 0)});
  }
  return cached;
}

Tensor MaskedAttention::process(nn::AttentionImpl& attention, const Tensor& hidden_states,
                                const Tensor& context) {
  const auto query = attention.query(hidden_states);  // [B,heads,N,D]
  const auto [height, width] =
      nn::feature_size(scene_->latent_height, scene_->latent_width, query.size(2));
  const auto [key, value] = attention.key_value(attention.context_of_layer(context));
  const auto base = nn::attention(query, key, value);
  auto mixed = base.clone();
  const auto& of_regions = key_values(attention);
  const auto& shares = shares_at(height, width, query.device());
  // A call without guidance has the second half of the pictures, those with the prompt.
  const auto wanted = [batch = query.size(0)](const Tensor& all) {
    return all.size(0) == batch ? all : all.slice(0, all.size(0) - batch);
  };
  for (std::size_t i = 0; i < shares.size(); ++i) {
    const auto& [positions, weights] = shares[i];
    if (positions.numel() == 0) continue;
    const auto own = nn::attention(query.index_select(2, positions), wanted(of_regions[i].key),
                                   wanted(of_regions[i].value));
    const auto change = (own - base.index_select(2, positions)) * weights.to(own.scalar_type());
    mixed.index_add_(2, positions, change);
  }
  return attention.output(mixed);
}

IsolatedAttention::IsolatedAttention(std::shared_ptr<const MaskedRegions> scene)
    : scene_(std::move(scene)) {}

std::vector<IsolatedAttention::Group> IsolatedAttention::make_groups(std::int64_t positions,
                                                                     torch::Device device) const {
  const auto [height, width] =
      nn::feature_size(scene_->latent_height, scene_->latent_width, positions);
  constexpr double kOwned = 0.5;
  auto largest = torch::full({positions}, kOwned);
  auto owner = torch::full({positions}, -1, torch::kInt64);
  for (std::size_t i = 0; i < scene_->regions.size(); ++i) {
    const auto map = mask_on_features(scene_->regions[i].mask, height, width).flatten();
    const auto wins = i == 0 ? map >= largest : (map > largest) | ((map == largest) & (owner < 0));
    owner = owner.masked_fill(wins, static_cast<std::int64_t>(i));
    largest = torch::where(wins, map, largest);
  }
  std::vector<Group> groups;
  const auto free = owner < 0;
  const auto all = torch::arange(positions).to(device);
  if (free.any().item<bool>()) groups.push_back({positions_of(free).to(device), all});
  for (std::size_t i = 0; i < scene_->regions.size(); ++i) {
    const auto own = owner == static_cast<std::int64_t>(i);
    if (!own.any().item<bool>()) continue;
    groups.push_back({positions_of(own).to(device), positions_of(own | free).to(device)});
  }
  return groups;
}

Tensor IsolatedAttention::process(nn::AttentionImpl& attention, const Tensor& hidden_states,
                                  const Tensor& /*context*/) {
  const auto query = attention.query(hidden_states);
  const auto [key, value] = attention.key_value(hidden_states);
  auto& groups = groups_[query.size(2)];
  if (groups.empty()) groups = make_groups(query.size(2), query.device());
  auto mixed = torch::empty_like(query);
  for (const auto& [queries, keys] : groups) {
    const auto own = nn::attention(query.index_select(2, queries), key.index_select(2, keys),
                                   value.index_select(2, keys));
    mixed.index_copy_(2, queries, own);
  }
  return attention.output(mixed);
}

}  // namespace mos::region
