#include "mos/study/borrowed_model.h"

#include <torch/nn/module.h>

namespace mos::study {

BorrowedModel::BorrowedModel(diffusion::Model& base) : base_(base), model_(base) {
  const torch::NoGradGuard no_grad;
  for (const auto& [part, config] : base.settings.configs) {
    for (auto& parameter : base.network(part)->parameters()) {
      former_.emplace_back(parameter, parameter.detach());
      // Work may write into the values themselves, so it gets values of its own.
      parameter.set_data(parameter.detach().clone());
    }
  }
  for (const auto& tower : base.towers) rows_.push_back(tower.encoder->concept_rows());
}

BorrowedModel::~BorrowedModel() {
  const torch::NoGradGuard no_grad;
  for (auto& [parameter, values] : former_) parameter.set_data(values);
  for (std::size_t i = 0; i < rows_.size(); ++i) {
    base_.towers[i].encoder->set_concept_rows(rows_[i]);
  }
}

}  // namespace mos::study
