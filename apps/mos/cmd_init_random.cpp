#include "command.h"
#include "mos/base/describe.h"
#include "mos/jobs/random_model.h"

namespace mos::app {
namespace {

std::string help_of_init_random() {
  return "usage: mos init-random --out FOLDER|FILE.safetensors [options]\n"
         "\n"
         "Writes a model with random weights, for tests and measurements at full size: its "
         "pictures are\n"
         "noise. The same options write the same bytes.\n"
         "\n" +
         flag_help<jobs::RandomModelJob>();
}

int run_init_random(Flags& flags, const Terminal& terminal) {
  jobs::RandomModelJob job;
  flags.read(job);
  flags.refuse_words();
  jobs::run(job, terminal.context());
  return 0;
}

}  // namespace

const Command kInitRandom = {.name = "init-random",
                             .summary = "a model of full size with random weights",
                             .options = options_of<jobs::RandomModelJob>,
                             .help = help_of_init_random,
                             .run = run_init_random};

}  // namespace mos::app
