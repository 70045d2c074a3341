#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <fmt/core.h>
#include <torch/version.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <new>
#include <string>
#include <string_view>
#include <vector>

#include "command.h"
#include "compute.h"
#include "mos/base/error.h"
#include "mos/base/log.h"
#include "mos/base/memory_limit.h"
#include "mos/base/runtime.h"
#include "mos/base/text.h"
#include "mos/base/text_distance.h"

namespace {

using mos::Error;
using mos::ErrorKind;
using mos::app::Command;

constexpr std::array kCommands = {
    Command{"tune", "learn a concept from a folder of pictures", mos::app::run_tune},
    Command{"fuse", "put several concepts into one model", mos::app::run_fuse},
    Command{"sample", "paint pictures, also with a prompt for each region", mos::app::run_sample},
    Command{"demo", "all of it on the sample concepts, with a report", mos::app::run_demo},
    Command{"condition", "make a condition picture from a photo", mos::app::run_condition},
    Command{"inspect", "say what a file is: model, LoRA, concept, …", mos::app::run_inspect},
    Command{"convert", "write a model or a LoRA in another layout", mos::app::run_convert},
    Command{"init-random", "a model of full size with random weights", mos::app::run_init_random},
    Command{"pretrain", "train the embedded base model from nothing", mos::app::run_pretrain},
    Command{"world", "sample concepts and pictures of the world it is trained on",
            mos::app::run_world},
};

void print_usage() {
  fmt::print("usage: mos COMMAND [options]\n\n");
  for (const auto& command : kCommands) fmt::print("  {:<12} {}\n", command.name, command.summary);
  fmt::print(
      "\n"
      "mos help COMMAND shows the options of a command; mos --version shows versions, device,\n"
      "number type, BLAS and threads. Results go to stdout, talk to stderr. Exit codes: 2 wrong\n"
      "use, 3 a file, 4 things that do not fit together, 5 the device or its memory, 130\n"
      "interrupted.\n");
}

void print_version() {
  const auto dtype = mos::app::dtype_named("auto", torch::kCPU);
  fmt::print("mos {}\nLibTorch  {}\ndevice    {}{}\ndtype     {}\nBLAS      {}\nthreads   {}\n",
             MOS_VERSION, TORCH_VERSION, mos::app::describe_cpu(), at::hasCUDA() ? ", cuda" : "",
             mos::app::name_of(dtype), mos::blas_library(), at::get_num_threads());
}

const Command& find_command(std::string_view name) {
  std::vector<std::string> names = {"help"};
  for (const auto& command : kCommands) {
    if (name == command.name) return command;
    names.emplace_back(command.name);
  }
  throw Error(ErrorKind::kUsage,
              fmt::format("unknown command {}{}", name, mos::did_you_mean(name, names)));
}

int help(int argc, char** argv) {
  if (argc < 3) {
    print_usage();
    return 0;
  }
  char option[] = "--help";
  char* only_help[] = {option, nullptr};
  return find_command(argv[2]).run(1, only_help);
}

int dispatch(int argc, char** argv) {
  if (argc < 2) {
    print_usage();
    return mos::exit_code(ErrorKind::kUsage);
  }
  const std::string_view name = argv[1];
  if (name == "help" || name == "--help" || name == "-h") return help(argc, argv);
  if (name == "--version" || name == "-V" || name == "version") {
    print_version();
    return 0;
  }
  return find_command(name).run(argc - 2, argv + 2);
}

/// Called before the libraries are set up, where memory may already be short.
void before_everything(int, char**, char**) { mos::end_clearly_without_memory(); }
[[gnu::section(".preinit_array"),
  gnu::used]] void (*const kBeforeEverything)(int, char**, char**) = before_everything;

/// What LibTorch says has a stack trace below its first line.
std::string first_line(std::string_view text) {
  return std::string(text.substr(0, text.find('\n')));
}

int report(ErrorKind kind, const std::string& message) {
  mos::log::write(fmt::format("mos: {}\n", mos::printable(message, mos::kLongestMessage)));
  return mos::exit_code(kind);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    mos::set_up_runtime();
    const int status = dispatch(argc, argv);
    if (std::fflush(stdout) != 0) throw Error(ErrorKind::kIo, "cannot write to standard output");
    return status;
  } catch (const Error& error) {
    return report(error.kind(), error.what());
  } catch (const c10::Error& error) {
    const auto message = first_line(error.what_without_backtrace());
    const bool memory = message.find("memory") != std::string::npos;
    mos::log::write(fmt::format("mos: LibTorch failed: {}\n", message));
    return memory ? mos::exit_code(ErrorKind::kDevice) : 1;
  } catch (const std::filesystem::filesystem_error& error) {
    return report(ErrorKind::kIo, fmt::format("cannot read {}: {}", error.path1().string(),
                                              error.code().message()));
  } catch (const std::bad_alloc&) {
    return report(ErrorKind::kDevice, "there is not enough memory for this");
  } catch (const std::exception& error) {
    mos::log::write(fmt::format("mos: {}\n", first_line(error.what())));
    return 1;
  }
}
