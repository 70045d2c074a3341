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
#include "mos/base/error_names.h"
#include "mos/base/json.h"
#include "mos/base/memory_limit.h"
#include "mos/base/runtime.h"
#include "mos/base/text.h"
#include "mos/base/text_distance.h"
#include "mos/base/version.h"
#include "mos/nn/compute.h"
#include "studio_commands.h"

namespace {

using mos::Error;
using mos::ErrorKind;
using mos::Json;
using mos::Schema;
using mos::app::Command;
using mos::app::Flags;
using mos::app::ProgressStyle;
using mos::app::Terminal;
using mos::app::without;

constexpr std::array kCommands = {
    &mos::app::kTune,      &mos::app::kFuse,    &mos::app::kSample,  &mos::app::kStudio,
    &mos::app::kEvaluate,  &mos::app::kStudy,   &mos::app::kDemo,    &mos::app::kPictures,
    &mos::app::kCondition, &mos::app::kInspect, &mos::app::kConvert, &mos::app::kInitRandom,
    &mos::app::kPretrain,  &mos::app::kWorld,
};

/// What every command takes beside its own options.
struct Common {
  ProgressStyle progress = ProgressStyle::kBar;
};

template <class Visitor>
void describe(Visitor& visit, Common& common) {
  visit("progress", common.progress,
        "bar for people, json for programs: one object a line on stderr (docs/progress.md)");
}

void print_usage() {
  fmt::print("usage: mos COMMAND [options]\n\n");
  for (const auto* command : kCommands) {
    fmt::print("  {:<12} {}\n", command->name, command->summary);
  }
  fmt::print(
      "\n"
      "mos help COMMAND shows the options of a command, mos COMMAND --help json the same as a\n"
      "JSON Schema, mos help json those of all; mos --version shows versions, device, number\n"
      "type, BLAS and threads. Results go to stdout, talk to stderr. Exit codes: 2 what is asked "
      "for\n"
      "(options, prompts and scenes, in files too), 3 a file, 4 things that do not fit together, 5 "
      "the\n"
      "device or its memory, 130 interrupted.\n");
}

void print_version() {
  const auto dtype = mos::nn::dtype_named("auto", torch::kCPU);
  fmt::print("mos {}\nLibTorch  {}\ndevice    {}{}\ndtype     {}\nBLAS      {}\nthreads   {}\n",
             mos::version(), TORCH_VERSION, mos::nn::describe_cpu(), at::hasCUDA() ? ", cuda" : "",
             mos::nn::name_of(dtype), mos::blas_library(), at::get_num_threads());
}

const Command& find_command(std::string_view name) {
  std::vector<std::string> names = {"help"};
  for (const auto* command : kCommands) {
    if (name == command->name) return *command;
    names.emplace_back(command->name);
  }
  throw Error(ErrorKind::kUsage,
              fmt::format("unknown command {}{}", name, mos::did_you_mean(name, names)));
}

/// Its own options, those of every command, and help.
Schema flags_of(const Command& command) {
  auto fields = command.options();
  if (command.words != nullptr) fields = without(std::move(fields), command.words);
  add_fields(fields, mos::schema_of<Common>());
  add_fields(fields, {{.name = "help",
                       .help = "",
                       .type = mos::FieldType::kSwitch,
                       .rules = mos::one_of({"json"})}});
  return fields;
}

/// --help, or --help json.
int help_for(const Command& command, const std::vector<std::string>& words,
             std::string_view style) {
  if (style == "json") {
    const auto title = fmt::format("mos {}", command.name);
    fmt::print("{}\n", mos::json_text(mos::json_schema(command.options(), title), 2));
  } else {
    const bool of_one = command.help_of != nullptr && !words.empty();
    fmt::print("{}\nOf every command:\n{}",
               of_one ? command.help_of(words.front()) : command.help(),
               mos::app::flag_help<Common>());
  }
  return 0;
}

int run_command(const Command& command, int argc, char** argv, const Terminal& terminal) {
  // Before anything else, so that a flag that is none is named even beside --help.
  Flags flags(argc, argv, flags_of(command));
  if (const auto style = flags.take("help")) return help_for(command, flags.words(), *style);
  if (argc == 0 && command.alone == Command::Alone::kHelps) {
    fmt::print("{}", command.help());
    return mos::exit_code(ErrorKind::kUsage);
  }
  Common common;
  flags.read(common);
  try {
    return command.run(flags, terminal);
  } catch (const Error& error) {  // jobs do not know who gave their options
    throw Error(error.kind(), flags.spelled(error.what()));
  }
}

/// The schema of every command, by its name.
void print_schemas() {
  Json schemas = Json::object();
  for (const auto* command : kCommands) {
    schemas[command->name] =
        mos::json_schema(command->options(), fmt::format("mos {}", command->name));
  }
  fmt::print("{}\n", mos::json_text(schemas, 2));
}

int help(int argc, char** argv) {
  if (argc < 3) {
    print_usage();
    return 0;
  }
  if (argv[2] == std::string_view("json")) {
    print_schemas();
    return 0;
  }
  return help_for(find_command(argv[2]), {argv + 3, argv + argc}, "");
}

int dispatch(int argc, char** argv, const Terminal& terminal) {
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
  return run_command(find_command(name), argc - 2, argv + 2, terminal);
}

/// Called before the libraries are set up, where memory may already be short.
void before_everything(int, char**, char**) { mos::end_clearly_without_memory(); }
[[gnu::section(".preinit_array"),
  gnu::used]] void (*const kBeforeEverything)(int, char**, char**) = before_everything;

/// What LibTorch says has a stack trace below its first line.
std::string first_line(std::string_view text) {
  return std::string(text.substr(0, text.find('\n')));
}

/// What went wrong, for the terminal.
struct Failure {
  std::string kind;
  std::string message;
  int status = 1;
};

Failure failure(ErrorKind kind, const std::string& message) {
  return {mos::choice_name(kind), mos::printable(message, mos::kLongestMessage),
          mos::exit_code(kind)};
}

/// Of the exception that is being handled.
Failure present_failure() {
  try {
    throw;
  } catch (const Error& error) {
    return failure(error.kind(), error.what());
  } catch (const c10::Error& error) {
    const auto message = first_line(error.what_without_backtrace());
    const bool memory = message.find("memory") != std::string::npos;
    return {memory ? mos::choice_name(ErrorKind::kDevice) : "internal",
            "LibTorch failed: " + message, memory ? mos::exit_code(ErrorKind::kDevice) : 1};
  } catch (const std::filesystem::filesystem_error& error) {
    const auto& path = error.path1();
    return failure(ErrorKind::kIo,
                   fmt::format("cannot read {}: {}", path.empty() ? "a file" : path.string(),
                               error.code().message()));
  } catch (const std::bad_alloc&) {
    return failure(ErrorKind::kDevice, "there is not enough memory for this");
  } catch (const std::exception& error) {
    return {"internal", first_line(error.what()), 1};
  }
}

}  // namespace

int main(int argc, char** argv) {
  const Terminal terminal(mos::app::progress_style(argc, argv));
  try {
    mos::app::end_on_termination();
    mos::set_up_runtime();
    const int status = dispatch(argc, argv, terminal);
    // A full disk behind `mos inspect >report` shows only here.
    if (std::fflush(stdout) != 0) throw Error(ErrorKind::kIo, "cannot write to standard output");
    return status;
  } catch (...) {
    const auto [kind, message, status] = present_failure();
    terminal.report(kind, message, status);
    return status;
  }
}
