#include "mos/region/own_layers.h"

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

#include "mos/nn/convolution.h"
#include "mos/nn/ops.h"
#include "mos/region/region_shares.h"

namespace mos::region {

using torch::Tensor;

namespace {

using Term = OwnUpdates::Term;

/// What a region changes in one layer.
struct Change {
  std::size_t region;
  std::vector<Term> terms;
};

/// What a layer of the timestep says more for a region, [B,O].
struct OfTime {
  std::size_t region;
  Tensor vector;
};

/// What one layer gets.
struct Plan {
  std::vector<Change> changes;
  std::shared_ptr<std::vector<OfTime>> of_time;  ///< Said before it in the same block; or null.
};

Tensor like(const Tensor& factor, const Tensor& x) {
  return factor.defined() ? nn::cast_like(factor, x) : factor;
}

/// What a convolution reads for a rectangle of its output, with zeros beyond the edges.
Tensor read_for(const nn::Conv2dImpl& layer, const Tensor& x, const FeatureBox& box) {
  const auto kernel = layer.weight.size(2);
  Tensor part = x;
  std::vector<std::int64_t> padding;  // of the last dimension first
  for (const auto& [dim, first, end] :
       {std::tuple(3, box.left, box.right), std::tuple(2, box.top, box.bottom)}) {
    const auto begin = first * layer.stride() - layer.padding();
    const auto stop = (end - 1) * layer.stride() - layer.padding() + kernel;
    const auto size = x.size(dim);
    part = part.slice(dim, std::max<std::int64_t>(begin, 0), std::min(stop, size));
    padding.push_back(std::max<std::int64_t>(-begin, 0));
    padding.push_back(std::max<std::int64_t>(stop - size, 0));
  }
  const bool is_inside = std::all_of(padding.begin(), padding.end(), [](auto p) { return p == 0; });
  return is_inside ? part : torch::constant_pad_nd(part, padding);
}

/// Σ ΔW x + Δb of a convolution for what it reads, [B,O,h,w].
Tensor change_patch(const nn::Conv2dImpl& layer, const std::vector<Term>& terms, const Tensor& x) {
  Tensor sum;
  for (const auto& [down, up, bias] : terms) {
    const auto first = down.defined() ? down : up;
    auto change = nn::convolution(x, like(first, x), down.defined() ? Tensor() : like(bias, x),
                                  layer.stride(), /*padding=*/0);
    if (down.defined()) {
      change = nn::convolution(change, like(up, x).unsqueeze(2).unsqueeze(3), like(bias, x), 1, 0);
    }
    sum = sum.defined() ? sum + change : change;
  }
  return sum;
}

/// y itself where no gradient needs it as it was.
Tensor writable(const Tensor& y) { return y.requires_grad() ? y.clone() : y; }

Tensor changed_rows(const std::vector<Change>& changes, RegionShares& shares, const Tensor& x,
                    const Tensor& y) {
  const auto& of_regions = shares.at(x.size(1), x.device());
  const auto result = writable(y);
  for (const auto& [region, terms] : changes) {
    const auto& share = of_regions[region];
    if (share.positions.numel() == 0) continue;
    add_share(result, share, change_rows(terms, nn::take_rows(x, share.positions)));
  }
  return result;
}

Tensor changed_map(const nn::Conv2dImpl& layer, const Plan& plan, RegionShares& shares,
                   const Tensor& x, const Tensor& y) {
  const auto& of_regions = shares.at(y.size(2) * y.size(3), x.device());
  const auto result = writable(y);
  const auto add = [&](const RegionShares::Share& share, const Tensor& change) {
    const auto& box = share.box;
    result.slice(2, box.top, box.bottom)
        .slice(3, box.left, box.right)
        .addcmul_(change, share.in_box.to(change.scalar_type()));
  };
  for (const auto& [region, terms] : plan.changes) {
    const auto& share = of_regions[region];
    if (share.box.empty()) continue;
    add(share, change_patch(layer, terms, read_for(layer, x, share.box)));
  }
  if (plan.of_time == nullptr) return result;
  for (const auto& [region, vector] : *plan.of_time) {
    if (!of_regions[region].box.empty()) {
      add(of_regions[region], vector.unsqueeze(2).unsqueeze(3));
    }
  }
  plan.of_time->clear();
  return result;
}

/// The plans of all layers, and of those of the timestep apart.
struct Plans {
  explicit Plans(const MaskedRegions& scene) {
    for (std::size_t i = 0; i < scene.regions.size(); ++i) {
      const auto* own = scene.regions[i].own.get();
      if (own == nullptr) continue;
      for (const auto& [layer, terms] : own->layers()) {
        const auto adder = own->adders().find(layer);
        if (adder == own->adders().end()) {
          on_positions[layer].changes.push_back({i, terms});
          continue;
        }
        auto& plan = of_time[layer];
        if (plan.of_time == nullptr) plan.of_time = std::make_shared<std::vector<OfTime>>();
        plan.changes.push_back({i, terms});
        on_positions[adder->second].of_time = plan.of_time;
      }
    }
  }

  std::map<nn::LoraLayer*, Plan> on_positions, of_time;
};

}  // namespace

InstalledLayers::InstalledLayers(std::shared_ptr<const MaskedRegions> scene) {
  const Plans plans(*scene);
  const auto shares = std::make_shared<RegionShares>(std::move(scene));
  for (const auto& [layer, plan] : plans.of_time) {
    layers_.push_back(layer);
    layer->output_change = [plan = plan](const Tensor& x, const Tensor& y) {
      plan.of_time->clear();
      for (const auto& [region, terms] : plan.changes) {
        plan.of_time->push_back({region, change_rows(terms, x)});
      }
      return y;
    };
  }
  for (const auto& [layer, plan] : plans.on_positions) {
    layers_.push_back(layer);
    if (const auto* convolution = dynamic_cast<nn::Conv2dImpl*>(layer)) {
      layer->output_change = [convolution, shares, plan = plan](const Tensor& x, const Tensor& y) {
        return changed_map(*convolution, plan, *shares, x, y);
      };
    } else {
      layer->output_change = [shares, plan = plan](const Tensor& x, const Tensor& y) {
        return changed_rows(plan.changes, *shares, x, y);
      };
    }
  }
}

InstalledLayers::~InstalledLayers() {
  for (auto* layer : layers_) layer->output_change = {};
}

}  // namespace mos::region
