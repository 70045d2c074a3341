#include <unistd.h>

#include <array>
#include <climits>
#include <cstdlib>
#include <cstring>

/// Libraries read some settings when they are loaded, long before main: a process that lacks them
/// starts itself once more with them, before any library has begun (0.06 s). What the caller has
/// set is kept.
namespace {

/// Idle threads sleep; those that spin cost 2 to 40 times the CPU time as soon as anything else
/// runs on the machine (libgomp).
char wait_policy[] = "OMP_WAIT_POLICY=passive";
/// Big tensors lie in huge pages: far fewer page faults (glibc).
char huge_pages[] = "GLIBC_TUNABLES=glibc.malloc.hugetlb=1";
/// Kernels that LibTorch has and does not take by itself; others round in another way, so one
/// machine paints one picture only where all processes take the same.
char wide_vectors[] = "ATEN_CPU_CAPABILITY=avx512";

bool has_wide_vectors() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
#else
  return false;
#endif
}

/// Environments that are longer are left as they are.
constexpr std::size_t kMostVariables = 4096;

/// NAME of "NAME=value" is in `environment`.
bool is_set(char** environment, const char* setting) {
  const auto length = static_cast<std::size_t>(std::strchr(setting, '=') - setting) + 1;
  for (; *environment != nullptr; ++environment) {
    if (std::strncmp(*environment, setting, length) == 0) return true;
  }
  return false;
}

void start_with_settings(int /*argc*/, char** argv, char** environment) {
  static std::array<char*, kMostVariables> variables;
  std::size_t count = 0;
  while (environment[count] != nullptr) {
    if (count + 4 > variables.size()) return;
    variables[count] = environment[count];
    ++count;
  }
  const auto before = count;
  const auto set = [&](char* setting) {
    if (!is_set(environment, setting)) variables[count++] = setting;
  };
  set(wait_policy);
  set(huge_pages);
  if (has_wide_vectors()) set(wide_vectors);
  if (count == before) return;
  static std::array<char, PATH_MAX> program;
  const auto length = ::readlink("/proc/self/exe", program.data(), program.size() - 1);
  // Without /proc, or where it cannot be started again, it goes on as it is: slower, not wrong.
  if (length > 0) ::execve(program.data(), argv, variables.data());
}

/// The linker's list of what an executable runs before its libraries' own beginnings.
[[gnu::section(".preinit_array"), gnu::used]] void (*const first)(int, char**,
                                                                  char**) = start_with_settings;

}  // namespace
