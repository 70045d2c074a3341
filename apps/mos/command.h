#pragma once

namespace mos::app {

/// One subcommand of `mos`. `run` gets the arguments behind the command's name and returns the exit
/// code; it reports failures by throwing mos::Error.
struct Command {
  const char* name;
  const char* summary;
  int (*run)(int argc, char** argv);
};

int run_condition(int argc, char** argv);
int run_convert(int argc, char** argv);
int run_demo(int argc, char** argv);
int run_fuse(int argc, char** argv);
int run_init_random(int argc, char** argv);
int run_inspect(int argc, char** argv);
int run_pretrain(int argc, char** argv);
int run_sample(int argc, char** argv);
int run_tune(int argc, char** argv);
int run_world(int argc, char** argv);

}  // namespace mos::app
