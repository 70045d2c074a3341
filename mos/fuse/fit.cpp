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

double crosstalk_energy(const Merged& merged, std::size_t index, const InputGram& inputs) {
  auto others = merged.update.up.clone();
  others.slice(1, merged.offsets[index], merged.offsets[index + 1]).zero_();
  return squared_norm(others, inputs.project(merged.update.down));
}

}  // namespace

ConceptFit concept_fit(const Merged& merged, const Update& own, std::size_t index,
                       const InputGram& inputs) {
  const auto& update = merged.update;
  const auto outputs = std::max(outputs_of(update), outputs_of(own));
  const auto count = static_cast<double>(std::max<std::int64_t>(1, inputs.rows() * outputs));
  ConceptFit fit{.before = output_energy(own, inputs) / count,
                 .after = error_energy(update, own, inputs) / count};
  if (!merged.offsets.empty()) fit.crosstalk = crosstalk_energy(merged, index, inputs) / count;
  return fit;
}

}  // namespace mos::fuse
