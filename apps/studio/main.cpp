#include <fmt/core.h>

#include <cstdio>
#include <exception>

#include "mos/base/error.h"
#include "mos/base/json.h"
#include "mos/studio/studio.h"

/// The server of `mos studio`, which starts it with its options as JSON.
int main(int argc, char** argv) {
  try {
    if (argc != 2) throw mos::Error(mos::ErrorKind::kUsage, "start this as mos studio");
    mos::studio::StudioOptions options;
    mos::read_options(mos::parse_json(argv[1], "the options"), "the options", options);
    mos::studio::run(options);
    return 0;
  } catch (const mos::Error& error) {
    fmt::print(stderr, "mos: {}\n", error.what());
    return mos::exit_code(error.kind());
  } catch (const std::exception& error) {
    fmt::print(stderr, "mos: {}\n", error.what());
    return 1;
  }
}
