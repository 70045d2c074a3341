#include "mos/fuse/fit.h"

#include <algorithm>

namespace mos::fuse {

using torch::Tensor;

namespace {

/// ‖ΔW Xᵀ‖².
double output_energy(const Update& update, const InputGram& inputs) {
  if (update.empty()) return 0.0;
  if (!update.is_low_rank()) {
    return std::max(0.0, (inputs.times(update.dense) * update.dense).sum().item<double>());
  }
  return squared_norm(update.up, torch::matmul(inputs.times(update.down), update.down.t()));
}

/// O, or 0 where nobody changes anything.
std::int64_t outputs_of(const Update& update) {
  if (update.empty()) return 0;
  return (update.is_low_rank() ? update.up : update.dense).size(0);
}

/// ‖(ΔW − ΔW_i) Xᵀ‖², by the factors where both have some.
double error_energy(const Update& update, const Update& own, const InputGram& inputs) {
  if (own.empty()) return output_energy(update, inputs);
  if (update.empty()) return output_energy(own, inputs);
  if (!update.is_low_rank() || !own.is_low_rank()) {
    return output_energy({.dense = update.matrix() - own.matrix()}, inputs);
  }
  return squared_norm(torch::cat({update.up, -own.up}, 1),
                      inputs.project(torch::cat({update.down, own.down})));
}

/// ‖ΔW_others Xᵀ‖² / count, together and one by one.
void add_crosstalk(ConceptFit& fit, const Merged& merged, std::size_t index,
                   const InputGram& inputs, double count) {
  const auto& offsets = merged.offsets;
  const auto seen = inputs.project(merged.update.down);  // [r,r]
  auto others = merged.update.up.clone();
  others.slice(1, offsets[index], offsets[index + 1]).zero_();
  fit.crosstalk = squared_norm(others, seen) / count;
  for (std::size_t i = 0; i + 1 < offsets.size(); ++i) {
    const auto begin = offsets[i], end = offsets[i + 1];
    fit.crosstalk_from.push_back(
        i == index || begin == end ? 0.0
                                   : squared_norm(merged.update.up.slice(1, begin, end),
                                                  seen.slice(0, begin, end).slice(1, begin, end)) /
                                         count);
  }
}

}  // namespace

ConceptFit concept_fit(const Merged& merged, const Update& own, std::size_t index,
                       const InputGram& inputs) {
  const auto& update = merged.update;
  const auto outputs = std::max(outputs_of(update), outputs_of(own));
  const auto count = static_cast<double>(std::max<std::int64_t>(1, inputs.rows() * outputs));
  ConceptFit fit{.before = output_energy(own, inputs) / count,
                 .after = error_energy(update, own, inputs) / count};
  if (!merged.offsets.empty()) add_crosstalk(fit, merged, index, inputs, count);
  return fit;
}

}  // namespace mos::fuse
