#include "mos/fuse/stage.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "mos/base/log.h"
#include "mos/fuse/weight_fusion.h"

namespace mos::fuse {

using concepts::LayerUpdates;
using concepts::LowRank;
using torch::Tensor;

LowRank plain_lora(const LowRankUpdate& update, torch::IntArrayRef weight_shape) {
  const auto rank = update.down.size(0);
  auto down_shape = weight_shape.vec();
  down_shape[0] = rank;
  std::vector<std::int64_t> up_shape(weight_shape.size(), 1);
  up_shape[0] = weight_shape[0];
  up_shape[1] = rank;
  const auto as_factor = [](const Tensor& factor, const std::vector<std::int64_t>& shape) {
    return factor.to(torch::kCPU, torch::kFloat32).contiguous().view(shape);
  };
  return {.down = as_factor(update.down, down_shape), .up = as_factor(update.up, up_shape)};
}

LowRankUpdate scaled_update(const LowRank& pair, double merge_scale) {
  return {.up = pair.up.detach().flatten(1).to(torch::kCPU, torch::kFloat64),
          .down = pair.down.detach().flatten(1).to(torch::kCPU, torch::kFloat64) *
                  (pair.scale * merge_scale)};
}

FusionStage::FusionStage(torch::nn::Module& network, std::vector<LayerUpdates> updates,
                         std::vector<double> scales, StageOptions options)
    : updates_(std::move(updates)), scales_(std::move(scales)), options_(std::move(options)) {
  LayerNames wanted;
  for (const auto& of_concept : updates_) {
    for (const auto& [layer, update] : of_concept) wanted.insert(layer);
  }
  std::vector<std::pair<std::string, const nn::LoraLayer*>> patch_readers;
  nn::for_each_lora_layer(network, [&](const std::string& name, nn::LoraLayer& layer) {
    if (!wanted.contains(name)) return;
    shapes_.emplace(name, layer.weight.sizes().vec());
    if (layer.reads_patches()) {
      patch_readers.emplace_back(name, &layer);
    } else {
      observe(name, layer);
    }
  });
  choose_patch_readers(std::move(patch_readers));
}

void FusionStage::observe(const std::string& name, const nn::LoraLayer& layer) {
  layers_.insert(name);
  wishes_.emplace(name, LayerWish(layer.out_features(), layer.in_features()));
  const auto site = input_site(name);
  sites_.try_emplace(site, Site{layer.in_features(), {}, {}});
  sites_.at(site).layers.push_back(name);
}

void FusionStage::choose_patch_readers(
    std::vector<std::pair<std::string, const nn::LoraLayer*>> layers) {
  std::stable_sort(layers.begin(), layers.end(), [](const auto& a, const auto& b) {
    return a.second->in_features() < b.second->in_features();
  });
  std::int64_t used = 0;
  for (const auto& [name, layer] : layers) {
    const auto features = layer->in_features();
    used += static_cast<std::int64_t>(sizeof(double)) * features * features;
    if (used <= options_.patch_memory_bytes) {
      observe(name, *layer);
    } else {
      averaged_.insert(name);
    }
  }
}

LowRankUpdate FusionStage::update_of(std::size_t index, const std::string& layer) const {
  const auto found = updates_[index].find(layer);
  if (found == updates_[index].end()) return {};
  return scaled_update(found->second.low_rank(), scales_[index]);
}

Tensor FusionStage::prior_of(const std::string& layer) const {
  std::vector<Tensor> parts = {wishes_.at(layer).moments().slice(0, 0, 0)};
  for (std::size_t i = 0; i < updates_.size(); ++i) {
    const auto update = update_of(i, layer);
    if (!update.empty()) parts.push_back(options_.prior_share * update.down);
  }
  return torch::cat(parts);
}

void FusionStage::add(const SiteGrams& grams) {
  for (auto& [name, site] : sites_) {
    const auto& gram = grams.at(name);
    const auto index = site.stored.size();
    site.stored.push_back(store_.put(gram));
    for (const auto& layer : site.layers) wishes_.at(layer).add(update_of(index, layer), gram);
  }
}

InputGram FusionStage::total_of(const Site& site) const {
  InputGram total(site.in_features);
  for (const auto number : site.stored) total.merge(store_.get(number));
  return total;
}

FusionStage::Solved FusionStage::solve_site(const std::string& name, const Site& site) const {
  const auto total = total_of(site);
  Solved solved{.rows = total.rows()};
  if (options_.solver == Solver::kLbfgs) {
    for (const auto& layer : site.layers) {
      solved.updates[layer] =
          solve_lbfgs(wishes_.at(layer), total, {.max_iterations = options_.iterations});
    }
    return solved;
  }
  const RidgeSolver ridge(total, options_.relative_ridge);
  solved.ridge = ridge.relative_ridge();
  if (solved.ridge > options_.relative_ridge) {
    log::warn(fmt::format("{}: the moments are singular, ridge raised from {:g} to {:g}", name,
                          options_.relative_ridge, solved.ridge));
  }
  for (const auto& layer : site.layers) {
    solved.updates[layer] = ridge.solve(wishes_.at(layer), prior_of(layer));
  }
  return solved;
}

LayerUpdates FusionStage::solve(FusionReport& report) const {
  LayerUpdates fused;
  for (const auto& [name, site] : sites_) {
    const auto solved = solve_site(name, site);
    for (const auto& [layer, m] : solved.updates) {
      fused.emplace(layer, plain_lora({wishes_.at(layer).up(), m}, shapes_.at(layer)));
    }
    report_site(site, solved, report);
  }
  average(fused, report);
  return fused;
}

void FusionStage::average(LayerUpdates& fused, FusionReport& report) const {
  const auto weights = normalized_weights({}, updates_.size());
  for (const auto& layer : averaged_) {
    std::vector<LowRankUpdate> updates;
    for (std::size_t i = 0; i < updates_.size(); ++i) updates.push_back(update_of(i, layer));
    const auto update = weighted_sum(updates, weights);
    report.layers.push_back({.stage = options_.name, .layer = layer, .rank = update.down.size(0)});
    fused.emplace(layer, plain_lora(update, shapes_.at(layer)));
  }
}

void FusionStage::report_site(const Site& site, const Solved& solved, FusionReport& report) const {
  std::map<std::string, LayerReport> entries;
  for (const auto& layer : site.layers) {
    entries.emplace(layer, LayerReport{.stage = options_.name,
                                       .layer = layer,
                                       .rank = wishes_.at(layer).up().size(1),
                                       .rows = solved.rows,
                                       .relative_ridge = solved.ridge});
  }
  for (std::size_t i = 0; i < site.stored.size(); ++i) {
    const auto gram = store_.get(site.stored[i]);
    for (auto& [layer, entry] : entries) {
      entry.concept_rows.push_back(gram.rows());
      entry.fits.push_back(concept_fit(wishes_.at(layer), solved.updates.at(layer), i,
                                       update_of(i, layer).down, gram));
    }
  }
  for (auto& [layer, entry] : entries) report.layers.push_back(std::move(entry));
}

}  // namespace mos::fuse
