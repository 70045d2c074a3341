#include "command.h"
#include "mos/base/describe.h"
#include "mos/jobs/condition.h"

namespace mos::app {
namespace {

std::string help_of_condition() {
  return "usage: mos condition PHOTO --out FILE.png [options]\n"
         "\n"
         "Makes the condition picture of a sketch adapter from a photo: its edges, white on "
         "black.\n"
         "\n" +
         option_help(without(schema_of<jobs::ConditionJob>(), "photo"));
}

int run_condition(Flags& flags, const Terminal& terminal) {
  flags.refuse_words(1);
  jobs::ConditionJob job;
  flags.read(job, "photo");
  jobs::run(job, terminal.context());
  return 0;
}

}  // namespace

const Command kCondition = {.name = "condition",
                            .summary = "make a condition picture from a photo",
                            .options = options_of<jobs::ConditionJob>,
                            .help = help_of_condition,
                            .run = run_condition,
                            .words = "photo"};

}  // namespace mos::app
