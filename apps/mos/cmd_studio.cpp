#include <fmt/core.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "mos/studio/studio.h"
#include "studio_commands.h"

namespace mos::app {
namespace {

namespace fs = std::filesystem;

std::string help_of_studio() {
  return "usage: mos studio [--folder DIR] [--base MODEL,...] [--open] [options]\n"
         "\n"
         "Serves a page where concepts are prepared, tuned, fused and painted, and the API behind "
         "it\n"
         "(docs/api.md), to this machine alone. Jobs are processes of their own: they go on when "
         "the\n"
         "studio ends, and it finds them again.\n"
         "\n" +
         flag_help<studio::StudioOptions>();
}

/// The server is a program of its own beside this one: without LibTorch, which alone takes more
/// memory than a server that waits may.
fs::path server_program() {
  std::error_code code;
  const auto us = fs::read_symlink("/proc/self/exe", code);
  const auto server = us.parent_path() / "mos-studio";
  if (!code && fs::exists(server, code)) return server;
  throw Error(ErrorKind::kIo, fmt::format("{} is not there: the studio was left out of this build "
                                          "(MOS_STUDIO=OFF), or mos was copied without it",
                                          server.string()));
}

int run_studio(Flags& flags, const Terminal&) {
  studio::StudioOptions options;
  flags.read(options);
  flags.refuse_words();
  check_fields(options);
  const auto program = server_program();
  const auto settings = json_text(write_options(options));
  execl(program.c_str(), program.c_str(), settings.c_str(), nullptr);
  throw Error(ErrorKind::kIo,
              fmt::format("cannot start {}: {}", program.string(), std::strerror(errno)));
}

}  // namespace

const Command kStudio = {.name = "studio",
                         .summary = "all of this in a browser",
                         .options = options_of<studio::StudioOptions>,
                         .help = help_of_studio,
                         .run = run_studio,
                         .alone = Command::Alone::kRuns};

}  // namespace mos::app
