#pragma once

namespace mos::nn::kernels {

/// Whether the fused kernels are part of this build at all.
#if defined(__x86_64__)
inline constexpr bool kFusedKernelsBuilt = true;
#else
inline constexpr bool kFusedKernelsBuilt = false;
#endif

/// Whether this processor runs the avx512_* kernels: AVX-512 F, BW, VL, DQ and BF16.
/// The environment variable MOS_PORTABLE_KERNELS, set to anything but 0, says no.
bool avx512_available();

/// Whether this processor multiplies bfloat16 itself: x86's AVX-512 BF16. On others LibTorch's
/// libraries take it apart number by number, which is slower than float32. The variable above says
/// no here, too.
bool bfloat16_native();

/// Whether it also has AMX tiles for bfloat16 and the kernel lets this process use them.
bool amx_available();

}  // namespace mos::nn::kernels
