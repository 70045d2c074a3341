#include "mos/nn/kernels/attention_kernels.h"

#if defined(__x86_64__)

#include <type_traits>

#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")

#include "mos/nn/kernels/avx512_attention_backward.h"
#include "mos/nn/kernels/avx512_attention_forward.h"

namespace mos::nn::kernels {
namespace avx512 {
namespace {

struct Vdpbf16 {
  static constexpr int64_t kRowMultiple = avx512::kRowMultiple;
  static constexpr int64_t kPairMultiple = 1;
  struct Scope {};  // nothing to set up

  static void multiply(const PairsA& a, const PanelsB& b, int64_t rows, int64_t panels,
                       int64_t pairs, const MatrixC& c, bool accumulate) {
    avx512::multiply(a, b, rows, panels, pairs, c, accumulate);
  }
};

using Forward = ForwardPass<Vdpbf16>;
using Backward = BackwardPass<Vdpbf16>;

}  // namespace
}  // namespace avx512

const AttentionKernel kAvx512Attention = {avx512::Forward::packed_size, avx512::Forward::pack,
                                          avx512::Forward::forward, avx512::Backward::workspace,
                                          avx512::Backward::backward};

}  // namespace mos::nn::kernels

#endif  // __x86_64__
