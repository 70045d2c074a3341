#pragma once

#include <ATen/core/Generator.h>
#include <torch/types.h>

#include <cstdint>

namespace mos {

/// A CPU generator of its own: every random draw of the library takes one.
at::Generator seeded_generator(std::uint64_t seed);

/// N(0,1) of `shape`, float32 on the CPU, so that a seed means the same on every device.
torch::Tensor randn(at::IntArrayRef shape, at::Generator& generator);

/// N(0,1) of `shape`, float32 on `device`, for trainings: on a CPU as randn; elsewhere drawn there,
/// seeded by a number from `generator`, so runs repeat, but not those of a CPU.
torch::Tensor randn_on(torch::Device device, at::IntArrayRef shape, at::Generator& generator);

/// Uniform integers in [low, high), int64 on the CPU.
torch::Tensor randint(std::int64_t low, std::int64_t high, at::IntArrayRef shape,
                      at::Generator& generator);

/// One uniform float in [0, 1).
double uniform(at::Generator& generator);

}  // namespace mos
