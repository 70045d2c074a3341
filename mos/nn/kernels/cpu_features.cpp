#include "mos/nn/kernels/cpu_features.h"

#include <cstdlib>
#include <string_view>

#if defined(__x86_64__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace mos::nn::kernels {
namespace {

bool portable_kernels_requested() {
  const char* value = std::getenv("MOS_PORTABLE_KERNELS");
  return value != nullptr && std::string_view(value) != "0" && *value != '\0';
}

#if defined(__x86_64__)
bool detect_avx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512bf16");
}

bool detect_bfloat16() { return __builtin_cpu_supports("avx512bf16"); }
#else
bool detect_avx512() { return false; }
bool detect_bfloat16() { return false; }
#endif

#if defined(__x86_64__) && defined(__linux__)
/// Linux enables the 8 KiB of tile registers only for processes that ask
/// (Documentation/arch/x86/xstate.rst).
bool detect_amx() {
  constexpr long kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr long kTileData = 18;               // XFEATURE_XTILE_DATA
  return __builtin_cpu_supports("amx-bf16") &&
         syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}
#else
bool detect_amx() { return false; }
#endif

}  // namespace

bool avx512_available() {
  static const bool available = !portable_kernels_requested() && detect_avx512();
  return available;
}

bool bfloat16_native() {
  static const bool native = !portable_kernels_requested() && detect_bfloat16();
  return native;
}

bool amx_available() {
  static const bool available = avx512_available() && detect_amx();
  return available;
}

}  // namespace mos::nn::kernels
