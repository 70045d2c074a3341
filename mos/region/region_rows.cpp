#include "mos/region/region_rows.h"

#include <algorithm>
#include <utility>

#include "mos/nn/ops.h"

namespace mos::region {

using torch::Tensor;

namespace {

/// What float32 masks that sum to 1 may lack.
constexpr double kNothing = 1e-6;

/// Whether a region of `size` rows may be computed as if it had `largest`: some rows twice are
/// cheaper than a call more.
bool is_like(std::int64_t size, std::int64_t largest) {
  constexpr std::int64_t kFewRows = 32;
  return largest - size <= std::max(kFewRows, largest / 4);
}

std::vector<RowGroup> groups_of(const std::vector<RegionShares::Share>& shares,
                                const std::vector<std::int64_t>& text_lengths) {
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < shares.size(); ++i) {
    if (shares[i].positions.numel() > 0) order.push_back(i);
  }
  const auto size = [&](std::size_t i) { return shares[i].positions.numel(); };
  std::ranges::stable_sort(order, [&](std::size_t a, std::size_t b) {
    return std::pair(text_lengths[a], size(b)) < std::pair(text_lengths[b], size(a));
  });
  std::vector<RowGroup> groups;
  for (const auto i : order) {
    const bool joins = !groups.empty() && is_like(size(i), groups.back().length) &&
                       text_lengths[groups.back().regions[0]] == text_lengths[i];
    if (!joins) groups.push_back({{}, size(i), {}});
    groups.back().regions.push_back(i);
  }
  for (auto& group : groups) {
    std::vector<Tensor> rows;
    for (const auto i : group.regions) {
      const auto& own = shares[i].positions;
      rows.push_back(own);
      rows.push_back(own.slice(0, 0, 1).expand({group.length - own.numel()}));
    }
    group.rows = torch::cat(rows);
  }
  return groups;
}

}  // namespace

RowPlan plan_rows(const std::vector<RegionShares::Share>& shares,
                  const std::vector<std::int64_t>& text_lengths, std::int64_t positions,
                  torch::Device device) {
  RowPlan plan;
  plan.groups = groups_of(shares, text_lengths);
  // Of each text, the context's first: its weight at each position, and the row that it reads.
  const auto texts = static_cast<std::int64_t>(shares.size()) + 1;
  auto weights = torch::zeros({texts, positions});
  const auto rows = torch::zeros({texts, positions}, torch::kInt64);
  for (std::int64_t i = 0; i + 1 < texts; ++i) {
    const auto& share = shares[static_cast<std::size_t>(i)];
    weights[i + 1].index_copy_(0, share.positions.cpu(), share.weights.cpu().flatten());
  }
  weights[0] = 1.0 - weights.sum(0);
  weights.masked_fill_(weights <= kNothing, 0.0);
  std::int64_t count = 0;
  const auto number = [&](std::int64_t text, const Tensor& read, std::int64_t length) {
    rows[text].index_copy_(0, read, torch::arange(count, count + read.numel()));
    count += length;
  };
  plan.context = weights[0].nonzero().flatten();
  number(0, plan.context, plan.context.numel());
  for (auto& group : plan.groups) {
    for (const auto i : group.regions) {
      number(static_cast<std::int64_t>(i) + 1, shares[i].positions.cpu(), group.length);
    }
    group.rows = group.rows.to(device);
  }
  const auto [largest, order] = weights.sort(0, /*descending=*/true);
  const auto most = (weights > 0.0).sum(0).max().item<std::int64_t>();
  plan.context = plan.context.to(device);
  plan.rows = rows.gather(0, order).slice(0, 0, most).to(device);
  plan.weights = largest.slice(0, 0, most).to(device);
  return plan;
}

Tensor put_together(const RowPlan& plan, const std::vector<Tensor>& seen) {
  const auto all = seen.size() == 1 ? seen[0] : torch::cat(seen, 1);
  return nn::weighted_rows(all, plan.rows, plan.weights);
}

}  // namespace mos::region
