#pragma once

#include <torch/types.h>

#include <string>
#include <vector>

#include "mos/base/device.h"

/// The one compute policy: every command that computes says with these words where it does so and
/// in which precision. (With how many threads: mos/base/runtime.h.)
namespace mos::nn {

/// Device and dtype of a command's networks.
struct Compute {
  torch::Device device = torch::kCPU;
  torch::ScalarType dtype = torch::kFloat32;
};

/// "float32", "bfloat16", "float16" (CUDA only), or "auto": bfloat16 where it is fast, which is on
/// CUDA and on processors that our kernels are for; else float32. Throws mos::Error(kUsage).
torch::ScalarType dtype_named(const std::string& name, const torch::Device& device = torch::kCPU);

/// Both by name. Throws as device_named and dtype_named do.
Compute compute_named(const std::string& device, const std::string& dtype);

/// The names of types, without "auto".
std::vector<std::string> dtype_names();

/// "float32", "bfloat16" or "float16", or "fp32", "bf16", "fp16": what weights can be kept in.
/// Throws mos::Error(kUsage).
torch::ScalarType weights_dtype_named(const std::string& name);

/// The name that dtype_named takes.
std::string name_of(torch::ScalarType dtype);

/// "cpu (AVX-512 with bfloat16, AMX)".
std::string describe_cpu();

}  // namespace mos::nn
