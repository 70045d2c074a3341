#include "mos/fuse/stage.h"

#include <fmt/core.h>

#include <utility>

#include "mos/base/log.h"

namespace mos::fuse {

using concepts::LoraPair;
using concepts::LoraPairs;
using torch::Tensor;

LoraPair plain_lora(const LowRankUpdate& update, std::int64_t weight_dims) {
  const auto as_factor = [weight_dims](const Tensor& factor) {
    const auto flat = factor.to(torch::kCPU, torch::kFloat32).contiguous();
    return weight_dims == 4 ? flat.unsqueeze(-1).unsqueeze(-1) : flat;
  };
  return {.down = as_factor(update.down), .up = as_factor(update.up), .scale = 1.0};
}

LowRankUpdate scaled_update(const LoraPair& pair, double merge_scale) {
  return {.up = pair.up.detach().flatten(1).to(torch::kCPU, torch::kFloat64),
          .down = pair.down.detach().flatten(1).to(torch::kCPU, torch::kFloat64) *
                  (pair.scale * merge_scale)};
}

FusionStage::FusionStage(torch::nn::Module& network, std::vector<LoraPairs> pairs,
                         std::vector<double> scales, StageOptions options)
    : pairs_(std::move(pairs)), scales_(std::move(scales)), options_(std::move(options)) {
  for (const auto& of_concept : pairs_) {
    for (const auto& [layer, pair] : of_concept) layers_.insert(layer);
  }
  nn::for_each_lora_layer(network, [this](const std::string& name, nn::LoraLayer& layer) {
    if (!layers_.contains(name)) return;
    wishes_.emplace(name, LayerWish(layer.out_features(), layer.in_features()));
    weight_dims_.emplace(name, layer.weight.dim());
    const auto site = input_site(name);
    sites_.try_emplace(site, Site{layer.in_features(), {}, {}});
    sites_.at(site).layers.push_back(name);
  });
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

LoraPairs FusionStage::solve(FusionReport& report) const {
  LoraPairs fused;
  for (const auto& [name, site] : sites_) {
    const auto solved = solve_site(name, site);
    for (const auto& [layer, m] : solved.updates) {
      fused.emplace(layer, plain_lora({wishes_.at(layer).up(), m}, weight_dims_.at(layer)));
    }
    report_site(site, solved, report);
  }
  return fused;
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
