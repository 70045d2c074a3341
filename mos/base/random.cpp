#include "mos/base/random.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Context.h>

#include <limits>

namespace mos {

at::Generator seeded_generator(std::uint64_t seed) { return at::detail::createCPUGenerator(seed); }

torch::Tensor randn(at::IntArrayRef shape, at::Generator& generator) {
  return torch::randn(shape, generator, torch::TensorOptions().dtype(torch::kFloat32));
}

torch::Tensor randn_on(torch::Device device, at::IntArrayRef shape, at::Generator& generator) {
  if (device.is_cpu()) return randn(shape, generator);
  auto own = at::globalContext().defaultGenerator(device).clone();
  const auto seed = randint(0, std::numeric_limits<std::int64_t>::max(), {1}, generator);
  own.set_current_seed(static_cast<std::uint64_t>(seed.item<std::int64_t>()));
  return torch::randn(shape, own, torch::dtype(torch::kFloat32).device(device));
}

torch::Tensor randint(std::int64_t low, std::int64_t high, at::IntArrayRef shape,
                      at::Generator& generator) {
  return torch::randint(low, high, shape, generator, torch::TensorOptions().dtype(torch::kInt64));
}

double uniform(at::Generator& generator) {
  return torch::rand({1}, generator, torch::TensorOptions().dtype(torch::kFloat64)).item<double>();
}

}  // namespace mos
