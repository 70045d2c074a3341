#pragma once

#include <dlfcn.h>

namespace mos::test {

/// Whether this process runs under AddressSanitizer. Asked of the process: tests are not compiled
/// with it even where what they test is.
inline bool is_sanitized() { return ::dlsym(RTLD_DEFAULT, "__asan_init") != nullptr; }

}  // namespace mos::test
