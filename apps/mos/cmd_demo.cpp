#include <fmt/core.h>

#include "command.h"
#include "mos/base/describe.h"
#include "mos/demo/demo.h"

namespace mos::app {
namespace {

void print_table(const demo::DemoReport& report) {
  // A column for each method that was asked for.
  const auto print_methods = [&](const auto& print_cell) {
    for (const auto& method : report.methods) print_cell(method);
    fmt::print("\n");
  };
  const auto print_name = [](const std::string& method) { fmt::print(" {:>8}", method); };
  fmt::print("{:<12} {:>8} {:>8}", "alignment", "lower", "single");
  print_methods(print_name);
  for (const auto& c : report.concepts) {
    fmt::print("{:<12} {:8.3f} {:8.3f}", c.name, c.lower, c.single);
    print_methods([&](const std::string& method) { fmt::print(" {:8.3f}", c.fused.at(method)); });
  }
  fmt::print("{:<30}", "margin");
  print_methods(print_name);
  for (const auto& r : report.regions) {
    fmt::print("{:<30}", r.name);
    print_methods([&](const std::string& method) { fmt::print(" {:8.3f}", r.margin.at(method)); });
  }
}

std::string help_of_demo() {
  return "usage: mos demo [options]\n\nTunes, fuses and paints the sample concepts; writes "
         "index.html and report.json.\n\n" +
         flag_help<demo::DemoOptions>();
}

int run_demo(Flags& flags, const Terminal& terminal) {
  demo::DemoOptions options;
  flags.read(options);
  flags.refuse_words();
  const auto report = demo::run_demo(options, terminal.progress(), cancel_on_interrupt());
  print_table(report);
  fmt::print("{}/index.html\n", options.out);
  return 0;
}

}  // namespace

const Command kDemo = {.name = "demo",
                       .summary = "all of it on the sample concepts, with a report",
                       .options = options_of<demo::DemoOptions>,
                       .help = help_of_demo,
                       .run = run_demo,
                       .alone = Command::Alone::kRuns};

}  // namespace mos::app
