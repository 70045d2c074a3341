#include "mos/region/masked_attention.h"

#include <algorithm>
#include <limits>

#include "mos/nn/ops.h"
#include "mos/region/region_mask.h"
#include "mos/region/span.h"

namespace mos::region {

using torch::Tensor;

namespace {

bool is_on(const MaskedContext& region, double progress) {
  return begins_in({region.start, region.end}, progress);
}

/// Positions where a flat map is not 0.
Tensor positions_of(const Tensor& map) { return map.nonzero().flatten(); }

/// `source` [B,S,C] with `prompt` [1,S,C] as the prompt's half of `pictures`.
Tensor with_prompts(const Tensor& source, const Tensor& prompt, std::int64_t pictures) {
  const auto without = std::max<std::int64_t>(0, source.size(0) - pictures);
  const auto half = prompt.to(source.options()).expand({source.size(0) - without, -1, -1});
  return without == 0 ? half : torch::cat({source.slice(0, 0, without), half});
}

/// The rectangle that holds `positions` of features of this width.
FeatureBox box_of(const Tensor& positions, std::int64_t width) {
  if (positions.numel() == 0) return {};
  const auto rows = torch::floor_divide(positions, width), columns = positions % width;
  const auto at = [](const Tensor& x) { return x.item<std::int64_t>(); };
  return {at(rows.min()), at(columns.min()), at(rows.max()) + 1, at(columns.max()) + 1};
}

}  // namespace

void add_share(const Tensor& all, const RegionShares::Share& share, const Tensor& change,
               std::int64_t dim) {
  if (!change.defined()) return;
  // No position is there twice, so rows can be read, added to and put back: ATen's index_add makes
  // a call for each of them.
  const auto rows = all.index_select(dim, share.positions);
  all.index_copy_(dim, share.positions,
                  rows.addcmul(change, share.weights.to(change.scalar_type())));
}

RegionShares::RegionShares(std::shared_ptr<const MaskedRegions> scene) : scene_(std::move(scene)) {}

std::vector<RegionShares::Share> RegionShares::make(std::int64_t positions,
                                                    torch::Device device) const {
  const auto [height, width] =
      nn::feature_size(scene_->latent_height, scene_->latent_width, positions);
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
  std::vector<Share> shares;
  for (std::size_t i = 0; i < maps.size(); ++i) {
    const auto covered = positions_of(maps[i]);
    const auto map = maps[i] * (scene_->regions[i].weight * (1.0 - scene_->base_ratio));
    const auto weights = map.index_select(0, covered);
    const auto box = box_of(covered, width);
    const auto in_box =
        map.view({height, width}).slice(0, box.top, box.bottom).slice(1, box.left, box.right);
    shares.push_back({covered.to(device), weights.unsqueeze(1).to(device), box, in_box.to(device)});
  }
  return shares;
}

const std::vector<RegionShares::Share>& RegionShares::at(std::int64_t positions,
                                                         torch::Device device) {
  std::vector<bool> on;
  for (const auto& region : scene_->regions) on.push_back(is_on(region, scene_->progress));
  const auto key = std::pair(positions, on);
  auto found = kept_.find(key);
  if (found == kept_.end()) found = kept_.emplace(key, make(positions, device)).first;
  return found->second;
}

MaskedAttention::MaskedAttention(std::shared_ptr<const MaskedRegions> scene)
    : scene_(scene), shares_(std::move(scene)) {}

const std::vector<nn::KeyValue>& MaskedAttention::key_values(nn::AttentionImpl& attention) {
  auto& cached = key_values_[&attention];
  if (!cached.empty()) return cached;
  for (const auto& region : scene_->regions) {
    const auto source = attention.context_of_layer(region.context);
    auto [key, value] = own_key_value(attention, source, region.own.get());
    if (region.values.defined()) {
      const auto values = with_prompts(source, attention.context_of_layer(region.values), 1);
      value = own_key_value(attention, values, region.own.get()).value;
    }
    cached.push_back(
        {key.repeat_interleave(scene_->pictures, 0), value.repeat_interleave(scene_->pictures, 0)});
  }
  return cached;
}

Tensor MaskedAttention::see_context(nn::AttentionImpl& attention, const Tensor& query,
                                    const Tensor& context) const {
  const auto source = attention.context_of_layer(context);
  const auto* own = scene_->own_context.get();
  const auto& [values, more_keys] = scene_->structure;
  auto [key, value] = own_key_value(attention, source, own);
  const auto instead = [&](const Tensor& text) {
    const auto mixed = with_prompts(source, attention.context_of_layer(text), scene_->pictures);
    return own_key_value(attention, mixed, own);
  };
  if (values.defined()) value = instead(values).value;
  auto seen = nn::attention(query, key, value);
  for (const auto& text : more_keys) seen = seen + nn::attention(query, instead(text).key, value);
  return more_keys.empty() ? seen : seen / static_cast<double>(1 + more_keys.size());
}

Tensor MaskedAttention::see(std::size_t i, const Tensor& query, const nn::KeyValue& text) {
  const auto& hidden = scene_->regions[i].hidden;
  if (hidden.empty()) return nn::attention(query, text.key, text.value);
  const auto batch = query.size(0);
  auto mask = torch::zeros({batch, 1, 1, text.key.size(2)}, query.options());
  const auto columns = torch::tensor(hidden, torch::kInt64).to(query.device());
  mask.slice(0, std::max<std::int64_t>(0, batch - scene_->pictures))
      .index_fill_(3, columns, -std::numeric_limits<double>::infinity());
  return nn::attention(query, text.key, text.value, {.mask = mask});
}

Tensor MaskedAttention::process(nn::AttentionImpl& attention, const Tensor& hidden_states,
                                const Tensor& context) {
  const auto query = attention.query(hidden_states);  // [B,heads,N,D]
  const auto base = see_context(attention, query, context);
  const auto mixed = base.clone();
  const auto& of_regions = key_values(attention);
  const auto& shares = shares_.at(query.size(2), query.device());
  // A call without guidance has the second half of the pictures, those with the prompt.
  const auto wanted = [batch = query.size(0)](const Tensor& all) {
    return all.size(0) == batch ? all : all.slice(0, all.size(0) - batch);
  };
  std::vector<Tensor> outputs(shares.size());
  for (std::size_t i = 0; i < shares.size(); ++i) {
    const auto& positions = shares[i].positions;
    if (positions.numel() == 0) continue;
    const auto* own = scene_->regions[i].own.get();
    auto asked = query.index_select(2, positions);
    if (own != nullptr) {
      asked = own_query(attention, asked, hidden_states.index_select(1, positions), *own);
    }
    const auto seen = see(i, asked, {wanted(of_regions[i].key), wanted(of_regions[i].value)});
    add_share(mixed, shares[i], seen - base.index_select(2, positions), 2);
    if (own != nullptr) outputs[i] = own_output(attention, seen, *own);
  }
  const auto output = attention.output(mixed);
  for (std::size_t i = 0; i < shares.size(); ++i) add_share(output, shares[i], outputs[i], 1);
  return output;
}

RegionalSelfAttention::RegionalSelfAttention(std::shared_ptr<const MaskedRegions> scene)
    : scene_(scene), shares_(std::move(scene)) {}

std::vector<RegionalSelfAttention::Group> RegionalSelfAttention::make_groups(
    std::int64_t positions, torch::Device device) const {
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

Tensor RegionalSelfAttention::isolated(const Tensor& query, const nn::KeyValue& seen) {
  auto& groups = groups_[query.size(2)];
  if (groups.empty()) groups = make_groups(query.size(2), query.device());
  auto mixed = torch::empty_like(query);
  for (const auto& [queries, keys] : groups) {
    const auto own = nn::attention(query.index_select(2, queries), seen.key.index_select(2, keys),
                                   seen.value.index_select(2, keys));
    mixed.index_copy_(2, queries, own);
  }
  return mixed;
}

Tensor RegionalSelfAttention::process(nn::AttentionImpl& attention, const Tensor& hidden_states,
                                      const Tensor& /*context*/) {
  const auto query = attention.query(hidden_states);
  const auto seen = attention.key_value(hidden_states);
  const auto& shares = shares_.at(query.size(2), query.device());
  for (std::size_t i = 0; i < shares.size(); ++i) {
    const auto* own = scene_->regions[i].own.get();
    if (own == nullptr || !own->changes(attention)) continue;
    const auto rows = hidden_states.index_select(1, shares[i].positions);
    add_share(query, shares[i], own_heads(attention, Projection::kQuery, rows, *own), 2);
    add_share(seen.key, shares[i], own_heads(attention, Projection::kKey, rows, *own), 2);
    add_share(seen.value, shares[i], own_heads(attention, Projection::kValue, rows, *own), 2);
  }
  const auto mixed =
      scene_->isolate ? isolated(query, seen) : nn::attention(query, seen.key, seen.value);
  const auto output = attention.output(mixed);
  for (std::size_t i = 0; i < shares.size(); ++i) {
    const auto* own = scene_->regions[i].own.get();
    if (own == nullptr) continue;
    const auto at_region = mixed.index_select(2, shares[i].positions);
    add_share(output, shares[i], own_output(attention, at_region, *own), 1);
  }
  return output;
}

}  // namespace mos::region
