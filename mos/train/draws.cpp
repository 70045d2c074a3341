#include "mos/train/draws.h"

#include <numeric>
#include <utility>

#include "mos/base/random.h"

namespace mos::train {

namespace {

/// One round of splitmix64 (Steele, Lea, Flood 2014): neighbouring inputs, unrelated outputs.
std::uint64_t mix(std::uint64_t x) {
  x += 0x9E3779B97F4A7C15ULL;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ULL;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBULL;
  return x ^ (x >> 31);
}

}  // namespace

at::Generator generator_for(std::uint64_t seed, std::uint64_t purpose, std::uint64_t index) {
  return seeded_generator(mix(mix(mix(seed) + purpose) + index));
}

at::Generator generator_of_step(std::int64_t seed, std::int64_t step, std::int64_t purpose) {
  const auto mixed = static_cast<std::uint64_t>(seed) * 0x9e3779b97f4a7c15ULL +
                     static_cast<std::uint64_t>(step) * 0xbf58476d1ce4e5b9ULL +
                     static_cast<std::uint64_t>(purpose) * 0x94d049bb133111ebULL;
  return seeded_generator(mixed ^ (mixed >> 31));
}

std::int64_t uniform_int(at::Generator& generator, std::int64_t low, std::int64_t high) {
  return randint(low, high + 1, {1}, generator).item<std::int64_t>();
}

std::vector<std::int64_t> permutation(at::Generator& generator, std::int64_t count) {
  std::vector<std::int64_t> order(static_cast<std::size_t>(count));
  std::iota(order.begin(), order.end(), 0);
  for (std::int64_t i = count - 1; i > 0; --i) {  // Fisher and Yates
    std::swap(order[static_cast<std::size_t>(i)],
              order[static_cast<std::size_t>(uniform_int(generator, 0, i))]);
  }
  return order;
}

torch::Tensor stratified(std::int64_t count, at::Generator& generator) {
  const auto offset = torch::rand({count}, generator, torch::TensorOptions(torch::kFloat64));
  return (torch::arange(count, torch::kFloat64) + offset) / static_cast<double>(count);
}

bool happens(at::Generator& generator, double probability) {
  if (probability <= 0.0 || probability >= 1.0) return probability > 0.0;
  return uniform(generator) < probability;
}

}  // namespace mos::train
