#pragma once

#include <torch/types.h>

#include <string>

#include "mos/base/device.h"

/// Where and in which precision a command computes.
namespace mos::session {

/// "float32", "bfloat16", "float16" (CUDA only), or "auto": bfloat16 where it is fast, which is on
/// CUDA and on processors that our kernels are for; else float32. Throws kUsage.
torch::ScalarType dtype_named(const std::string& name, const torch::Device& device);

/// "float32", "bfloat16" or "float16", or "fp32", "bf16", "fp16": what weights can be kept in.
/// Throws kUsage.
torch::ScalarType weights_dtype_named(const std::string& name);

/// The name that dtype_named takes.
std::string name_of(torch::ScalarType dtype);

/// "cpu (AVX-512 with bfloat16, AMX)".
std::string describe_cpu();

}  // namespace mos::session
