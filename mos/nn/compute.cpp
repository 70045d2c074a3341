#include "mos/nn/compute.h"

#include <fmt/ranges.h>

#include <array>
#include <utility>

#include "mos/base/error.h"
#include "mos/base/text_distance.h"
#include "mos/nn/kernels/cpu_features.h"

namespace mos::nn {
namespace {

struct NamedType {
  const char* name;
  const char* short_name;  ///< As other programs and file names have it.
  torch::ScalarType type;
};
constexpr std::array kTypes = {NamedType{"float32", "fp32", torch::kFloat32},
                               NamedType{"bfloat16", "bf16", torch::kBFloat16},
                               NamedType{"float16", "fp16", torch::kFloat16}};

/// `others` are names that the caller knows besides.
torch::ScalarType type_named(const std::string& name, std::vector<std::string> others) {
  for (const auto& entry : kTypes) {
    if (name == entry.name || name == entry.short_name) return entry.type;
  }
  for (auto& known : dtype_names()) others.push_back(std::move(known));
  throw Error(ErrorKind::kUsage, fmt::format("--dtype is \"{}\", expected one of {}{}", name,
                                             fmt::join(others, ", "), did_you_mean(name, others)));
}

bool cpu_has_kernels() { return kernels::kFusedKernelsBuilt && kernels::avx512_available(); }

}  // namespace

torch::ScalarType dtype_named(const std::string& name, const torch::Device& device) {
  if (name == "auto") {
    return device.is_cuda() || cpu_has_kernels() ? torch::kBFloat16 : torch::kFloat32;
  }
  const auto type = type_named(name, {"auto"});
  if (type == torch::kFloat16 && !device.is_cuda()) {
    throw Error(ErrorKind::kUsage, "--dtype float16 needs --device cuda; use bfloat16");
  }
  return type;
}

std::vector<std::string> dtype_names() {
  std::vector<std::string> names;
  for (const auto& entry : kTypes) names.emplace_back(entry.name);
  return names;
}

Compute compute_named(const std::string& device, const std::string& dtype) {
  const auto where = device_named(device);
  return {where, dtype_named(dtype, where)};
}

torch::ScalarType weights_dtype_named(const std::string& name) { return type_named(name, {}); }

std::string name_of(torch::ScalarType dtype) {
  for (const auto& entry : kTypes) {
    if (entry.type == dtype) return entry.name;
  }
  return torch::toString(dtype);
}

std::string describe_cpu() {
  if (!cpu_has_kernels()) return "cpu (portable kernels)";
  return kernels::amx_available() ? "cpu (AVX-512 with bfloat16, AMX)"
                                  : "cpu (AVX-512 with bfloat16)";
}

}  // namespace mos::nn
