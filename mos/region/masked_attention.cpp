#include "mos/region/masked_attention.h"

#include <algorithm>
#include <limits>

#include "mos/nn/ops.h"

namespace mos::region {

using torch::Tensor;

namespace {

/// Positions where a flat map is not 0.
Tensor positions_of(const Tensor& map) { return map.nonzero().flatten(); }

/// [B,N,heads·D] of [B,heads,N,D], and back; views where memory allows.
Tensor rows_of(const Tensor& heads) { return heads.transpose(1, 2).flatten(2); }
Tensor heads_of(const Tensor& rows, std::int64_t heads) {
  return rows.unflatten(2, {heads, rows.size(2) / heads}).transpose(1, 2);
}

/// `source` [B,S,C] with `prompt` [1,S,C] as the prompt's half of `pictures`.
Tensor with_prompts(const Tensor& source, const Tensor& prompt, std::int64_t pictures) {
  const auto without = std::max<std::int64_t>(0, source.size(0) - pictures);
  const auto half = prompt.to(source.options()).expand({source.size(0) - without, -1, -1});
  return without == 0 ? half : torch::cat({source.slice(0, 0, without), half});
}

/// What is added to scores of `key` [B,heads,S,D], so that the prompt's half of `pictures` does not
/// see the columns `hidden`: [B,1,1,S].
Tensor hidden_columns(const Tensor& key, const std::vector<std::int64_t>& hidden,
                      std::int64_t pictures) {
  const auto batch = key.size(0);
  auto mask = torch::zeros({batch, 1, 1, key.size(2)}, key.options());
  if (hidden.empty()) return mask;
  mask.slice(0, std::max<std::int64_t>(0, batch - pictures))
      .index_fill_(3, torch::tensor(hidden, torch::kInt64).to(key.device()),
                   -std::numeric_limits<double>::infinity());
  return mask;
}

/// Calls use(updates, share, rows) for the regions of `group` that have concepts of their own, with
/// what is theirs of the group's `rows` [B,n,C].
template <typename Use>
void each_own(const MaskedRegions& scene, const RowGroup& group,
              const std::vector<RegionShares::Share>& shares, const Tensor& rows, const Use& use) {
  for (std::size_t k = 0; k < group.regions.size(); ++k) {
    const auto& share = shares[group.regions[k]];
    const auto* own = scene.regions[group.regions[k]].own.get();
    if (own == nullptr) continue;
    const auto begin = static_cast<std::int64_t>(k) * group.length;
    use(*own, share, rows.narrow(1, begin, share.positions.numel()));
  }
}

}  // namespace

MaskedAttention::MaskedAttention(std::shared_ptr<const MaskedRegions> scene)
    : scene_(scene), shares_(std::move(scene)) {}

const RowPlan& MaskedAttention::plan_for(const std::vector<RegionShares::Share>& shares,
                                         const Tensor& rows) {
  auto found = plans_.find(&shares);
  if (found == plans_.end()) {
    std::vector<std::int64_t> lengths;
    for (const auto& region : scene_->regions) lengths.push_back(region.context.size(-2));
    found = plans_.emplace(&shares, plan_rows(shares, lengths, rows.size(1), rows.device())).first;
  }
  return found->second;
}

MaskedAttention::GroupText MaskedAttention::text_of(nn::AttentionImpl& attention,
                                                    const RowGroup& group) const {
  std::vector<Tensor> keys, values, hidden;
  for (const auto i : group.regions) {
    const auto& region = scene_->regions[i];
    const auto source = attention.context_of_layer(region.context);
    auto [key, value] = own_key_value(attention, source, region.own.get());
    if (region.values.defined()) {
      const auto mixed = with_prompts(source, attention.context_of_layer(region.values), 1);
      value = own_key_value(attention, mixed, region.own.get()).value;
    }
    keys.push_back(key.repeat_interleave(scene_->pictures, 0));
    values.push_back(value.repeat_interleave(scene_->pictures, 0));
    hidden.push_back(hidden_columns(keys.back(), region.hidden, scene_->pictures));
  }
  const bool hides = std::ranges::any_of(
      group.regions, [&](std::size_t i) { return !scene_->regions[i].hidden.empty(); });
  return {torch::stack(keys, 1), torch::stack(values, 1),
          hides ? torch::stack(hidden, 1) : Tensor()};
}

const std::vector<MaskedAttention::GroupText>& MaskedAttention::texts_for(
    nn::AttentionImpl& attention, const RowPlan& plan) {
  auto& [of_plan, texts] = texts_[&attention];
  if (of_plan != &plan) {
    of_plan = &plan;
    texts.clear();
    for (const auto& group : plan.groups) texts.push_back(text_of(attention, group));
  }
  return texts;
}

Tensor MaskedAttention::see_context(nn::AttentionImpl& attention, const Tensor& rows,
                                    const Tensor& context) const {
  if (rows.size(1) == 0) return rows;  // regions cover everything
  const auto source = attention.context_of_layer(context);
  const auto* own = scene_->own_context.get();
  const auto& [values, more_keys] = scene_->structure;
  auto [key, value] = own_key_value(attention, source, own);
  const auto instead = [&](const Tensor& text) {
    const auto mixed = with_prompts(source, attention.context_of_layer(text), scene_->pictures);
    return own_key_value(attention, mixed, own);
  };
  if (values.defined()) value = instead(values).value;
  const auto query = heads_of(rows, attention.heads());
  auto seen = nn::attention(query, key, value);
  for (const auto& text : more_keys) seen = seen + nn::attention(query, instead(text).key, value);
  if (!more_keys.empty()) seen = seen / static_cast<double>(1 + more_keys.size());
  return rows_of(seen);
}

Tensor MaskedAttention::see(const RowGroup& group, const GroupText& text, const Tensor& rows,
                            std::int64_t heads) const {
  const auto batch = rows.size(0);
  const auto regions = static_cast<std::int64_t>(group.regions.size());
  // A call without guidance has the second half of the pictures, those with the prompt.
  const auto wanted = [batch](const Tensor& all) {
    return all.defined() ? all.slice(0, all.size(0) - batch).flatten(0, 1) : all;
  };
  const auto query = heads_of(rows.view({batch * regions, group.length, rows.size(2)}), heads);
  const auto seen =
      nn::attention(query, wanted(text.key), wanted(text.value), {.mask = wanted(text.hidden)});
  return rows_of(seen).view(rows.sizes());
}

Tensor MaskedAttention::process(nn::AttentionImpl& attention, const Tensor& hidden_states,
                                const Tensor& context) {
  const auto query = rows_of(attention.query(hidden_states));  // [B,N,heads·D]
  const auto& shares = shares_.at(query.size(1), query.device());
  const auto& plan = plan_for(shares, query);
  const auto& texts = texts_for(attention, plan);
  std::vector<Tensor> seen = {see_context(attention, nn::take_rows(query, plan.context), context)};
  for (std::size_t g = 0; g < plan.groups.size(); ++g) {
    const auto& group = plan.groups[g];
    const auto rows = nn::take_rows(query, group.rows);
    each_own(*scene_, group, shares, rows, [&](const auto& own, const auto& share, Tensor asked) {
      const auto from = nn::take_rows(hidden_states, share.positions);
      const auto change = own.change(attention, Projection::kQuery, from);
      if (change.defined()) asked.add_(change);
    });
    seen.push_back(see(group, texts[g], rows, attention.heads()));
  }
  const auto output = attention.output(heads_of(put_together(plan, seen), attention.heads()));
  for (std::size_t g = 0; g < plan.groups.size(); ++g) {
    each_own(*scene_, plan.groups[g], shares, seen[g + 1],
             [&](const auto& own, const auto& share, const Tensor& rows) {
               add_share(output, share, own.change(attention, Projection::kOutput, rows));
             });
  }
  return output;
}

RegionalSelfAttention::RegionalSelfAttention(std::shared_ptr<const MaskedRegions> scene)
    : scene_(scene), shares_(std::move(scene)) {}

std::vector<RegionalSelfAttention::Group> RegionalSelfAttention::make_groups(
    std::int64_t positions, torch::Device device) const {
  const auto [height, width] =
      nn::feature_size(scene_->latent_height, scene_->latent_width, positions);
  constexpr double kOwned = 0.5;
  const auto on = shares_.regions_on();
  auto largest = torch::full({positions}, kOwned);
  auto owner = torch::full({positions}, -1, torch::kInt64);
  for (std::size_t i = 0; i < scene_->regions.size(); ++i) {
    if (!on[i]) continue;
    const auto map = shape_on_features(scene_->regions[i].shape, height, width).flatten();
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

Tensor RegionalSelfAttention::isolated(const Tensor& query, const Tensor& key, const Tensor& value,
                                       std::int64_t heads) {
  auto& groups = groups_[{query.size(1), shares_.regions_on()}];
  if (groups.empty()) groups = make_groups(query.size(1), query.device());
  auto mixed = torch::empty_like(query);
  for (const auto& group : groups) {
    const auto take = [&](const Tensor& all, const Tensor& rows) {
      return heads_of(nn::take_rows(all, rows), heads);
    };
    const auto seen =
        nn::attention(take(query, group.queries), take(key, group.keys), take(value, group.keys));
    mixed.index_copy_(1, group.queries, rows_of(seen));
  }
  return mixed;
}

void RegionalSelfAttention::add_own(nn::AttentionImpl& attention, const Tensor& from,
                                    const std::vector<Projected>& to) {
  const auto& shares = shares_.at(from.size(1), from.device());
  for (std::size_t i = 0; i < shares.size(); ++i) {
    const auto* own = scene_->regions[i].own.get();
    if (own == nullptr || !own->changes(attention)) continue;
    const auto rows = nn::take_rows(from, shares[i].positions);
    for (const auto& [all, projection] : to) {
      add_share(all, shares[i], own->change(attention, projection, rows));
    }
  }
}

Tensor RegionalSelfAttention::output_of(nn::AttentionImpl& attention, const Tensor& mixed) {
  const auto output = attention.output(heads_of(mixed, attention.heads()));
  add_own(attention, mixed, {{output, Projection::kOutput}});
  return output;
}

Tensor RegionalSelfAttention::process(nn::AttentionImpl& attention, const Tensor& hidden_states,
                                      const Tensor& /*context*/) {
  const auto heads = attention.heads();
  const auto [keys, values] = attention.key_value(hidden_states);
  const auto query = rows_of(attention.query(hidden_states)), key = rows_of(keys),
             value = rows_of(values);
  add_own(attention, hidden_states,
          {{query, Projection::kQuery}, {key, Projection::kKey}, {value, Projection::kValue}});
  const auto mixed = scene_->isolate
                         ? isolated(query, key, value, heads)
                         : rows_of(nn::attention(heads_of(query, heads), heads_of(key, heads),
                                                 heads_of(value, heads)));
  return output_of(attention, mixed);
}

Tensor RegionalSelfAttention::identity(nn::AttentionImpl& attention, const Tensor& hidden_states) {
  const auto value = rows_of(attention.key_value(hidden_states).value);
  add_own(attention, hidden_states, {{value, Projection::kValue}});
  return output_of(attention, value);
}

}  // namespace mos::region
