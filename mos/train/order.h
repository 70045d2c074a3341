#pragma once

#include <torch/types.h>

#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

/// The order in which a training sees its pictures.
namespace mos::train {

/// 0 … count − 1 once in each epoch, in an order of its own: a pure function of the epoch, so that
/// a resumed run goes on in it. Keeps the order of the last epoch asked for: one thread at a time.
class EpochOrder {
 public:
  using OrderOf = std::function<std::vector<std::int64_t>(std::int64_t epoch)>;

  /// `order_of` gives the order of an epoch. Required: count > 0 when anything is asked for.
  EpochOrder(std::int64_t count, OrderOf order_of)
      : count_(count), order_of_(std::move(order_of)) {}
  /// The order of pretraining.
  EpochOrder(std::int64_t count, std::int64_t seed);

  /// What is seen at `position`, counted from the start of the run.
  std::int64_t at(std::int64_t position);
  /// Those of `step` with `size` for each step: int64 [size].
  torch::Tensor batch(std::int64_t step, std::int64_t size);

 private:
  std::int64_t count_;
  OrderOf order_of_;
  std::int64_t epoch_ = -1;
  std::vector<std::int64_t> order_;
};

}  // namespace mos::train
