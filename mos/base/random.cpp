#include "mos/base/random.h"

#include <ATen/CPUGeneratorImpl.h>

namespace mos {

at::Generator seeded_generator(std::uint64_t seed) { return at::detail::createCPUGenerator(seed); }

torch::Tensor randn(at::IntArrayRef shape, at::Generator& generator) {
  return torch::randn(shape, generator, torch::TensorOptions().dtype(torch::kFloat32));
}

torch::Tensor randint(std::int64_t low, std::int64_t high, at::IntArrayRef shape,
                      at::Generator& generator) {
  return torch::randint(low, high, shape, generator, torch::TensorOptions().dtype(torch::kInt64));
}

double uniform(at::Generator& generator) {
  return torch::rand({1}, generator, torch::TensorOptions().dtype(torch::kFloat64)).item<double>();
}

}  // namespace mos
