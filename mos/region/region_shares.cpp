#include "mos/region/region_shares.h"

#include "mos/nn/attention.h"
#include "mos/nn/ops.h"
#include "mos/region/span.h"

namespace mos::region {

using torch::Tensor;

namespace {

bool is_on(const MaskedContext& region, double progress) {
  return begins_in({region.start, region.end}, progress);
}

/// The rectangle that holds `positions` of features of this width.
FeatureBox box_of(const Tensor& positions, std::int64_t width) {
  if (positions.numel() == 0) return {};
  const auto rows = torch::floor_divide(positions, width), columns = positions % width;
  const auto at = [](const Tensor& x) { return x.item<std::int64_t>(); };
  return {at(rows.min()), at(columns.min()), at(rows.max()) + 1, at(columns.max()) + 1};
}

}  // namespace

void add_share(const Tensor& all, const RegionShares::Share& share, const Tensor& change) {
  if (!change.defined()) return;
  // No position is there twice, so rows can be read, added to and put back: ATen's index_add makes
  // a call for each of them.
  const auto rows = nn::take_rows(all, share.positions);
  all.index_copy_(1, share.positions, rows.addcmul(change, share.weights.to(change.scalar_type())));
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
                   ? shape_on_features(region.shape, height, width).flatten()
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
    const auto covered = maps[i].nonzero().flatten();
    const auto map = maps[i] * (scene_->regions[i].weight * (1.0 - scene_->base_ratio));
    const auto weights = map.index_select(0, covered);
    const auto box = box_of(covered, width);
    const auto in_box =
        map.view({height, width}).slice(0, box.top, box.bottom).slice(1, box.left, box.right);
    shares.push_back({covered.to(device), weights.unsqueeze(1).to(device), box, in_box.to(device)});
  }
  return shares;
}

std::vector<bool> RegionShares::regions_on() const {
  std::vector<bool> on;
  for (const auto& region : scene_->regions) on.push_back(is_on(region, scene_->progress));
  return on;
}

const std::vector<RegionShares::Share>& RegionShares::at(std::int64_t positions,
                                                         torch::Device device) {
  const auto on = regions_on();
  const auto key = std::pair(positions, on);
  auto found = kept_.find(key);
  if (found == kept_.end()) found = kept_.emplace(key, make(positions, device)).first;
  return found->second;
}

}  // namespace mos::region
