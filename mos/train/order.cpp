#include "mos/train/order.h"

#include "mos/train/draws.h"

namespace mos::train {

EpochOrder::EpochOrder(std::int64_t count, std::int64_t seed)
    : EpochOrder(count, [count, seed](std::int64_t epoch) {
        auto generator = generator_of_step(seed, epoch, /*purpose=*/7);
        const auto order = torch::randperm(count, generator, torch::kInt64);
        const auto* first = order.data_ptr<std::int64_t>();
        return std::vector<std::int64_t>(first, first + count);
      }) {}

std::int64_t EpochOrder::at(std::int64_t position) {
  const auto epoch = position / count_;
  if (epoch != epoch_) {
    order_ = order_of_(epoch);
    epoch_ = epoch;
  }
  return order_[static_cast<std::size_t>(position % count_)];
}

torch::Tensor EpochOrder::batch(std::int64_t step, std::int64_t size) {
  auto indices = torch::empty({size}, torch::kInt64);
  auto* target = indices.data_ptr<std::int64_t>();
  for (std::int64_t i = 0; i < size; ++i) target[i] = at(step * size + i);
  return indices;
}

}  // namespace mos::train
