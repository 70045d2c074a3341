#pragma once

#include <ATen/core/Generator.h>
#include <torch/types.h>

#include <cstdint>
#include <vector>

/// Random draws that are pure functions of (seed, purpose, index), so that a run which was
/// interrupted and resumed draws what an uninterrupted one does.
namespace mos::train {

/// `purpose` keeps apart streams of one index.
at::Generator generator_for(std::uint64_t seed, std::uint64_t purpose, std::uint64_t index);

/// The same of pretraining, whose seeds have always been numbered like this; index = step.
at::Generator generator_of_step(std::int64_t seed, std::int64_t step, std::int64_t purpose = 0);

/// Uniform integer in low … high, both included.
std::int64_t uniform_int(at::Generator& generator, std::int64_t low, std::int64_t high);

/// 0 … count-1 in random order.
std::vector<std::int64_t> permutation(at::Generator& generator, std::int64_t count);

/// One number of each of `count` equal parts of 0…1, rising: float64 [count]. Timesteps that are
/// drawn so see early and late noise in every batch alike, and losses of batches differ less.
torch::Tensor stratified(std::int64_t count, at::Generator& generator);

/// True with the given probability; draws nothing for 0 and 1.
bool happens(at::Generator& generator, double probability);

}  // namespace mos::train
