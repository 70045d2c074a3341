#pragma once

#include <torch/types.h>

#include <cstdint>

#include "mos/nn/kernels/cpu_features.h"

namespace mos::nn::kernels {

/// Whether x is bfloat16 on a CPU that has no arithmetic for it.
inline bool bfloat16_emulated(const torch::Tensor& x) {
  return x.device().is_cpu() && x.scalar_type() == at::kBFloat16 && !bfloat16_native();
}

/// The elements of a bfloat16 tensor as their bits, the form in which the kernels take them.
inline uint16_t* bits(const torch::Tensor& x) {
  return reinterpret_cast<uint16_t*>(x.data_ptr<at::BFloat16>());
}

/// Pairs of them, and whatever else kernels take in 32 bits, of an int32 tensor.
inline uint32_t* words(const torch::Tensor& x) {
  return reinterpret_cast<uint32_t*>(x.data_ptr<int32_t>());
}

/// LibTorch 1.13's autograd functions take no undefined tensors: what is absent is empty.
inline torch::Tensor or_empty(const torch::Tensor& optional, const torch::Tensor& x) {
  return optional.defined() ? optional : at::empty({0}, x.options());
}

inline float to_float(uint16_t bfloat16) {
  return std::bit_cast<float>(static_cast<uint32_t>(bfloat16) << 16);
}

/// A parameter as the kernels take it.
inline torch::Tensor wide(const torch::Tensor& parameter) {
  return parameter.to(at::kFloat).contiguous();
}

/// `grad` with the strides of the dense tensor `x`, copied only where they differ.
inline torch::Tensor laid_out_like(const torch::Tensor& grad, const torch::Tensor& x) {
  return grad.strides() == x.strides() ? grad : at::empty_like(x).copy_(grad);
}

}  // namespace mos::nn::kernels
