#include <fmt/core.h>

#include <array>
#include <exception>
#include <string_view>

#include "command.h"
#include "mos/base/error.h"
#include "mos/base/runtime.h"
#include "mos/base/text_distance.h"

namespace {

using mos::app::Command;

constexpr std::array kCommands = {
    Command{"pretrain", "train the embedded base model from nothing", mos::app::run_pretrain},
};

void print_usage() {
  fmt::print("usage: mos <command> [options]\n\n");
  for (const auto& command : kCommands) fmt::print("  {:<10} {}\n", command.name, command.summary);
}

int dispatch(int argc, char** argv) {
  if (argc < 2 || std::string_view(argv[1]) == "--help") {
    print_usage();
    return argc < 2 ? mos::exit_code(mos::ErrorKind::kUsage) : 0;
  }
  std::vector<std::string> names;
  for (const auto& command : kCommands) {
    if (std::string_view(argv[1]) == command.name) return command.run(argc - 2, argv + 2);
    names.emplace_back(command.name);
  }
  throw mos::Error(mos::ErrorKind::kUsage, fmt::format("unknown command {}{}", argv[1],
                                                       mos::did_you_mean(argv[1], names)));
}

}  // namespace

int main(int argc, char** argv) {
  try {
    mos::set_up_runtime();
    return dispatch(argc, argv);
  } catch (const mos::Error& error) {
    fmt::print(stderr, "mos: {}\n", error.what());
    return mos::exit_code(error.kind());
  } catch (const std::exception& error) {
    fmt::print(stderr, "mos: {}\n", error.what());
    return 1;
  }
}
