#include <fmt/core.h>

#include "command.h"
#include "flags.h"
#include "mos/base/describe.h"
#include "mos/demo/demo.h"
#include "terminal.h"

namespace mos::app {
namespace {

void print_table(const demo::DemoReport& report) {
  fmt::print("{:<12} {:>8} {:>8} {:>8} {:>8}\n", "alignment", "lower", "single", "weight",
             "gradient");
  for (const auto& c : report.concepts) {
    fmt::print("{:<12} {:8.3f} {:8.3f} {:8.3f} {:8.3f}\n", c.name, c.lower, c.single, c.weight,
               c.gradient);
  }
  fmt::print("{:<12} {:>26} {:>8}\n", "margin", "weight", "gradient");
  for (const auto& r : report.regions) {
    fmt::print("{:<12} {:26.3f} {:8.3f}\n", r.name, r.weight, r.gradient);
  }
}

}  // namespace

int run_demo(int argc, char** argv) {
  Flags flags(argc, argv);
  demo::DemoOptions options;
  if (flags.take_switch("help")) {
    fmt::print(
        "usage: mos demo [options]\n\nTunes, fuses and paints the sample concepts; writes "
        "index.html and report.json.\n\n{}",
        flag_help<demo::DemoOptions>());
    return 0;
  }
  read_flags(flags, options);
  flags.refuse_unknown();
  flags.refuse_words();
  const auto report = demo::run_demo(options, ProgressBar(), cancel_on_interrupt());
  print_table(report);
  fmt::print("{}/index.html\n", options.out);
  return 0;
}

}  // namespace mos::app
