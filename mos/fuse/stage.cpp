#include "mos/fuse/stage.h"

#include <algorithm>
#include <utility>

#include "mos/fuse/weight_fusion.h"

namespace mos::fuse {

using concepts::LayerUpdates;
using concepts::LowRank;
using torch::Tensor;

namespace {

/// A pair of factors in float32 for a layer with a weight of this shape ([O,I] or [O,C,k,k]).
LowRank plain_lora(const Update& update, torch::IntArrayRef weight_shape) {
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

/// What `update` at this scale changes in a layer with this weight; empty for one of the bias
/// alone.
Update scaled_update(const concepts::LayerUpdate& update, double merge_scale,
                     const Tensor& weight) {
  const auto as_matrix = [](const Tensor& tensor) {
    return tensor.detach().flatten(1).to(torch::kCPU, torch::kFloat64);
  };
  if (!update.changes_weight()) return {};
  const auto pair = update.as_pair();
  if (!pair) return {.dense = as_matrix(update.difference(weight, merge_scale))};
  return {.up = as_matrix(pair->up), .down = as_matrix(pair->down) * (pair->scale * merge_scale)};
}

}  // namespace

FusionStage::FusionStage(torch::nn::Module& network, StageConcepts concepts, Merging merging)
    : concepts_(std::move(concepts)), merging_(std::move(merging)) {
  LayerNames wanted;
  for (const auto& updates : concepts_.updates) {
    for (const auto& [layer, update] : updates) wanted.insert(layer);
  }
  const auto needed = merging_.method->needs().inputs;
  // A method that asks for nothing lets this stage run without the network.
  const bool is_recorded =
      needed == Recorded::kEverything ||
      (needed == Recorded::kKeysAndValues && concepts_.kind == LayerKind::kCrossAttention);
  std::vector<std::pair<std::string, const nn::LoraLayer*>> patch_readers;
  nn::for_each_lora_layer(network, [&](const std::string& name, nn::LoraLayer& layer) {
    if (!wanted.contains(name)) return;
    layers_.emplace(name, &layer);
    if (!is_recorded) return;
    if (layer.reads_patches()) {
      patch_readers.emplace_back(name, &layer);
    } else {
      record(name, layer);
    }
  });
  record_patch_readers(std::move(patch_readers));
}

void FusionStage::record(const std::string& name, const nn::LoraLayer& layer) {
  recorded_.insert(name);
  // Layers that read the same tensor (to_q, to_k and to_v) share its moments: a third of the memory
  // and of the work.
  const auto site = input_site(name);
  const auto found =
      sites_.try_emplace(site, Site{SiteInputs(site, layer.in_features(), store_), {}}).first;
  found->second.layers.push_back(name);
}

void FusionStage::record_patch_readers(
    std::vector<std::pair<std::string, const nn::LoraLayer*>> layers) {
  // Most layers fit when the small ones come first; the moments of a 3×3 convolution of 1280
  // channels take a gigabyte.
  std::stable_sort(layers.begin(), layers.end(), [](const auto& a, const auto& b) {
    return a.second->in_features() < b.second->in_features();
  });
  std::int64_t used = 0;
  for (const auto& [name, layer] : layers) {
    const auto features = layer->in_features();
    used += static_cast<std::int64_t>(sizeof(double)) * features * features;
    if (used <= merging_.patch_memory_bytes) {
      record(name, *layer);
    } else {
      beyond_memory_.insert(name);
    }
  }
}

std::string FusionStage::name() const {
  if (kind() == LayerKind::kCrossAttention) return "cross_attention";
  return std::string(folder_of(part()));
}

void FusionStage::add(const SiteGrams& grams) {
  for (auto& [name, site] : sites_) site.inputs.add(grams.at(name));
}

void FusionStage::set_again(std::size_t index, const SitePairs& pairs) {
  for (auto& [name, site] : sites_) site.inputs.set_again(index, pairs.at(name));
}

Update FusionStage::update_of(std::size_t index, const std::string& layer) const {
  const auto found = concepts_.updates[index].find(layer);
  if (found == concepts_.updates[index].end()) return {};
  return scaled_update(found->second, concepts_.scales[index], layers_.at(layer)->weight);
}

Tensor FusionStage::bias_of(const std::string& layer) const {
  Tensor sum;
  for (std::size_t i = 0; i < concepts_.updates.size(); ++i) {
    const auto found = concepts_.updates[i].find(layer);
    if (found == concepts_.updates[i].end()) continue;
    const auto change = found->second.bias_difference();
    if (!change.defined()) continue;
    // A bias acts on every input alike, so there is nothing to solve.
    const auto share = merging_.bias_shares[i] * concepts_.scales[i] * change;
    sum = sum.defined() ? sum + share : share;
  }
  return sum;
}

std::optional<concepts::LayerUpdate> FusionStage::written(const std::string& layer,
                                                          const Update& merged) const {
  const auto& weight = layers_.at(layer)->weight;
  const auto bias = bias_of(layer);
  if (merged.is_low_rank()) return with_bias(plain_lora(merged, weight.sizes()), bias);
  concepts::Dense whole;
  if (!merged.empty()) {
    whole.parts[concepts::LoraPart::kDifference] =
        merged.dense.to(torch::kFloat32).contiguous().view(weight.sizes());
  }
  if (bias.defined()) whole.parts[concepts::LoraPart::kBiasDifference] = bias;
  if (whole.parts.empty()) return std::nullopt;
  return whole;
}

FusionStage::Solution FusionStage::solve_layer(const std::string& layer,
                                               const SiteInputs* inputs) const {
  LayerProblem problem{.layer = layer,
                       .kind = concepts_.kind,
                       .weight = layers_.at(layer)->weight.detach().cpu().flatten(1),
                       .updates = {},
                       .weights = merging_.weights,
                       .inputs = inputs,
                       .captions = captions_ ? &*captions_ : nullptr};
  for (std::size_t i = 0; i < concepts_.updates.size(); ++i) {
    problem.updates.push_back(update_of(i, layer));
  }
  const auto& updates = problem.updates;
  if (std::ranges::all_of(updates, [](const Update& own) { return own.empty(); })) {
    return {.merged = {}, .method = merging_.name};
  }
  if (inputs == nullptr && merging_.method->needs().inputs != Recorded::kNothing) {
    // Nothing was recorded of it (no room, or not of the method's layers); the report says so.
    return {.merged = weight_fusion(problem), .method = "weight"};
  }
  return {.merged = merging_.method->merge(problem), .method = merging_.name};
}

LayerUpdates FusionStage::solve(FusionReport* report, const std::function<void()>& on_layer) const {
  LayerUpdates fused;
  // A site at a time, so that no more than its layers' solutions are held in float64.
  const auto solve_together = [&](const std::vector<std::string>& layers, const Site* site) {
    Solutions solutions;
    for (const auto& layer : layers) {
      solutions.emplace(layer, solve_layer(layer, site == nullptr ? nullptr : &site->inputs));
      if (on_layer) on_layer();
    }
    if (report != nullptr) {
      for (auto& entry : reports_of(solutions, site)) report->layers.push_back(std::move(entry));
    }
    for (const auto& [layer, solution] : solutions) {
      if (auto update = written(layer, solution.merged.update)) {
        fused.emplace(layer, *std::move(update));
      }
    }
  };
  for (const auto& [name, site] : sites_) solve_together(site.layers, &site);
  for (const auto& [layer, where] : layers_) {
    if (!recorded_.contains(layer)) solve_together({layer}, nullptr);
  }
  return fused;
}

std::vector<LayerReport> FusionStage::reports_of(const Solutions& solutions,
                                                 const Site* site) const {
  std::vector<LayerReport> reports;
  for (const auto& [layer, solution] : solutions) {
    reports.push_back({.stage = name(),
                       .layer = layer,
                       .method = solution.method,
                       .rank = solution.merged.update.rank(),
                       .rows = site == nullptr ? 0 : site->inputs.rows(),
                       .facts = solution.merged.facts});
  }
  if (site == nullptr) return reports;
  for (std::size_t i = 0; i < site->inputs.concepts(); ++i) {
    const auto gram = site->inputs.of(i);
    for (auto& entry : reports) {
      entry.concept_rows.push_back(gram.rows());
      entry.fits.push_back(
          concept_fit(solutions.at(entry.layer).merged, update_of(i, entry.layer), i, gram));
    }
  }
  return reports;
}

}  // namespace mos::fuse
