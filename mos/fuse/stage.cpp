#include "mos/fuse/stage.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "mos/base/log.h"
#include "mos/fuse/weight_fusion.h"

namespace mos::fuse {

using concepts::LoraPair;
using concepts::LoraPairs;
using torch::Tensor;

LoraPair plain_lora(const LowRankUpdate& update, torch::IntArrayRef weight_shape) {
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

LowRankUpdate scaled_update(const LoraPair& pair, double merge_scale) {
  return {.up = pair.up.detach().flatten(1).to(torch::kCPU, torch::kFloat64),
          .down = pair.down.detach().flatten(1).to(torch::kCPU, torch::kFloat64) *
                  (pair.scale * merge_scale)};
}

FusionStage::FusionStage(torch::nn::Module& network, std::vector<LoraPairs> pairs,
                         std::vector<double> scales, StageOptions options)
    : pairs_(std::move(pairs)), scales_(std::move(scales)), options_(std::move(options)) {
  LayerNames wanted;
  for (const auto& of_concept : pairs_) {
    for (const auto& [layer, pair] : of_concept) wanted.insert(layer);
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
  sites_.try_emplace(site, Site{InputGram(layer.in_features()), {}, {}});
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
    // The sum over the concepts, and the moments of the one that is being sampled.
    used += 2 * static_cast<std::int64_t>(sizeof(double)) * features * features;
    if (used <= options_.patch_memory_bytes) {
      observe(name, *layer);
    } else {
      averaged_.insert(name);
    }
  }
}

LowRankUpdate FusionStage::update_of(std::size_t index, const std::string& layer) const {
  const auto found = pairs_[index].find(layer);
  if (found == pairs_[index].end()) return {};
  return scaled_update(found->second, scales_[index]);
}

Tensor FusionStage::prior_of(const std::string& layer) const {
  std::vector<Tensor> parts = {wishes_.at(layer).moments().slice(0, 0, 0)};
  for (std::size_t i = 0; i < pairs_.size(); ++i) {
    const auto update = update_of(i, layer);
    if (!update.empty()) parts.push_back(options_.prior_share * update.down);
  }
  return torch::cat(parts);
}

void FusionStage::add(const SiteGrams& grams) {
  for (auto& [name, site] : sites_) {
    const auto& gram = grams.at(name);
    const auto index = site.stored.size();
    site.total.merge(gram);
    site.stored.push_back(store_.put(gram));
    for (const auto& layer : site.layers) wishes_.at(layer).add(update_of(index, layer), gram);
  }
}

LoraPairs FusionStage::solve(FusionReport& report) const {
  LoraPairs fused;
  for (const auto& [name, site] : sites_) {
    const RidgeSolver ridge(site.total, options_.relative_ridge);
    const bool exact = options_.solver == Solver::kRidge;
    if (exact && ridge.relative_ridge() > options_.relative_ridge) {
      log::warn(fmt::format("{}: the moments are singular, ridge raised from {:g} to {:g}", name,
                            options_.relative_ridge, ridge.relative_ridge()));
    }
    std::map<std::string, Tensor> solutions;
    for (const auto& layer : site.layers) {
      const auto& wish = wishes_.at(layer);
      const auto m = exact ? ridge.solve(wish, prior_of(layer))
                           : solve_lbfgs(wish, site.total, {.max_iterations = options_.iterations});
      fused.emplace(layer, plain_lora({wish.up(), m}, shapes_.at(layer)));
      solutions.emplace(layer, m);
    }
    report_site(site, solutions, exact ? ridge.relative_ridge() : 0.0, report);
  }
  average(fused, report);
  return fused;
}

void FusionStage::average(LoraPairs& fused, FusionReport& report) const {
  const auto weights = normalized_weights({}, pairs_.size());
  for (const auto& layer : averaged_) {
    std::vector<LowRankUpdate> updates;
    for (std::size_t i = 0; i < pairs_.size(); ++i) updates.push_back(update_of(i, layer));
    const auto update = weighted_sum(updates, weights);
    report.layers.push_back({.stage = options_.name, .layer = layer, .rank = update.down.size(0)});
    fused.emplace(layer, plain_lora(update, shapes_.at(layer)));
  }
}

void FusionStage::report_site(const Site& site, const std::map<std::string, Tensor>& solutions,
                              double ridge, FusionReport& report) const {
  std::map<std::string, LayerReport> entries;
  for (const auto& layer : site.layers) {
    entries.emplace(layer, LayerReport{.stage = options_.name,
                                       .layer = layer,
                                       .rank = wishes_.at(layer).up().size(1),
                                       .rows = site.total.rows(),
                                       .relative_ridge = ridge});
  }
  for (std::size_t i = 0; i < site.stored.size(); ++i) {
    const auto gram = store_.get(site.stored[i]);
    for (auto& [layer, entry] : entries) {
      entry.concept_rows.push_back(gram.rows());
      entry.fits.push_back(
          concept_fit(wishes_.at(layer), solutions.at(layer), i, update_of(i, layer).down, gram));
    }
  }
  for (auto& [layer, entry] : entries) report.layers.push_back(std::move(entry));
}

}  // namespace mos::fuse
