#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Allocator.h>
#include <torch/version.h>

#include <cstddef>
#include <optional>

#if TORCH_VERSION_MAJOR >= 2
#include <ATen/ops/scaled_dot_product_attention.h>
#endif

/// The one place for differences between LibTorch 1.13 (Debian 12) and 2.x (Debian 13, CUDA).
namespace mos::compat {

/// ATen's attention that stores no score matrix on a GPU came with 2.0.
inline constexpr bool kHasFusedAttention = TORCH_VERSION_MAJOR >= 2;

/// softmax(q k^T / sqrt(D) + mask) v for [B,H,N,D]; `mask` may be undefined and excludes `causal`.
#if TORCH_VERSION_MAJOR >= 2
inline at::Tensor fused_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                  const at::Tensor& mask, bool causal) {
  return at::scaled_dot_product_attention(
      q, k, v, mask.defined() ? std::optional<at::Tensor>(mask) : std::nullopt,
      /*dropout_p=*/0.0, causal);
}
#else
at::Tensor fused_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                           const at::Tensor& mask, bool causal);
#endif

/// An allocator of tensors' memory, whose functions have had two signatures.
class Allocator : public c10::Allocator {
 public:
#if TORCH_VERSION_MAJOR >= 2
  c10::DataPtr allocate(std::size_t bytes) override { return take(bytes); }
  void copy_data(void* to, const void* from, std::size_t bytes) const override {
    default_copy_data(to, from, bytes);
  }
#else
  c10::DataPtr allocate(std::size_t bytes) const override { return take(bytes); }
#endif

 protected:
  virtual c10::DataPtr take(std::size_t bytes) const = 0;
};

}  // namespace mos::compat
