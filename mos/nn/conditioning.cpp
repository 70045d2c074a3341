#include "mos/nn/conditioning.h"

#include <algorithm>
#include <numeric>

namespace mos::nn {

using torch::Tensor;

namespace {

/// `change` of every tensor that is there.
template <typename Change>
Conditioning changed(const Conditioning& from, const Change& change) {
  Conditioning result;
  if (from.context.defined()) result.context = change(from.context);
  if (from.pooled.defined()) result.pooled = change(from.pooled);
  if (from.time_ids.defined()) result.time_ids = change(from.time_ids);
  return result;
}

Tensor joined(std::span<const Conditioning> parts, Tensor Conditioning::*which) {
  std::vector<Tensor> all;
  for (const auto& part : parts) {
    if ((part.*which).defined()) all.push_back(part.*which);
  }
  // All parts have it or none: they are of one model.
  return all.empty() ? Tensor() : torch::cat(all);
}

}  // namespace

Conditioning Conditioning::narrow(std::int64_t from, std::int64_t count) const {
  return changed(*this, [&](const Tensor& all) { return all.narrow(0, from, count); });
}

Conditioning Conditioning::expand(std::int64_t batch) const {
  return changed(*this, [&](const Tensor& one) {
    auto shape = one.sizes().vec();
    shape.front() = batch;
    return one.expand(shape);
  });
}

Conditioning Conditioning::to(const torch::TensorOptions& options) const {
  return changed(*this, [&](const Tensor& tensor) { return tensor.to(options); });
}

Conditioning Conditioning::layerwise(std::int64_t texts) const {
  auto result = *this;
  // Expanded: one text that every layer reads takes the memory of one.
  if (!is_layerwise()) result.context = context.unsqueeze(1).expand({-1, texts, -1, -1});
  return result;
}

Conditioning cat(std::span<const Conditioning> parts) {
  std::vector<Conditioning> alike(parts.begin(), parts.end());
  const auto layerwise = std::ranges::find_if(parts, &Conditioning::is_layerwise);
  if (layerwise != parts.end()) {
    for (auto& part : alike) part = part.layerwise(layerwise->context.size(1));
  }
  Conditioning all;
  for (const auto which :
       {&Conditioning::context, &Conditioning::pooled, &Conditioning::time_ids}) {
    all.*which = joined(alike, which);
  }
  return all;
}

TextSlices TextSlices::one_each(std::int64_t layers) {
  TextSlices slices{.count = layers, .of_layer = {}};
  slices.of_layer.resize(static_cast<std::size_t>(layers));
  std::iota(slices.of_layer.begin(), slices.of_layer.end(), 0);
  return slices;
}

}  // namespace mos::nn
