#pragma once

#include <torch/types.h>

#include <utility>
#include <vector>

#include "mos/diffusion/model.h"

namespace mos::study {

/// A base model that is loaded once and lent for one piece of work after the other, each of which
/// may merge into its weights, move it, or teach it words. When the loan ends everything is as it
/// was, bit for bit. Memory: the weights once more.
class BorrowedModel {
 public:
  /// Required: nobody else uses `base` meanwhile.
  explicit BorrowedModel(diffusion::Model& base);
  ~BorrowedModel();
  BorrowedModel(const BorrowedModel&) = delete;
  BorrowedModel& operator=(const BorrowedModel&) = delete;

  /// Shares the networks of the base; tokenizers and lists of words are its own.
  diffusion::Model& model() { return model_; }

 private:
  diffusion::Model& base_;
  diffusion::Model model_;
  std::vector<std::pair<torch::Tensor, torch::Tensor>> former_;  ///< Parameters and their values.
  std::vector<torch::Tensor> rows_;                              ///< Concept rows, by tower.
};

}  // namespace mos::study
