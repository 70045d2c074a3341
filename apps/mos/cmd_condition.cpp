#include <fmt/core.h>

#include <cmath>

#include "command.h"
#include "flags.h"
#include "mos/io/edges.h"
#include "mos/io/image.h"
#include "output_kinds.h"
#include "terminal.h"

namespace mos::app {
namespace {

constexpr const char* kUsage =
    "usage: mos condition PHOTO --out FILE.png [options]\n"
    "\n"
    "Makes the condition picture of a sketch adapter from a photo: its edges, white on black.\n"
    "\n"
    "  --out FILE.png           the picture\n";

struct Settings {
  io::EdgeOptions edges;
};

template <class Visitor>
void describe(Visitor& visit, Settings& settings) {
  visit("blur", settings.edges.blur, "pixels: larger keeps only coarse edges");
  visit("high", settings.edges.high, "gradient that begins an edge, 0 to 1");
  visit("low", settings.edges.low, "gradient that goes on with one");
}

void check(const io::EdgeOptions& edges) {
  const bool possible = edges.low >= 0.0 && edges.low <= edges.high && edges.high <= 1.0 &&
                        edges.blur >= 0.0 && edges.blur <= 100.0;
  if (possible) return;
  throw Error(ErrorKind::kUsage,
              fmt::format("--low {} and --high {} must lie in 0 to 1, low not above high, and "
                          "--blur {} in 0 to 100",
                          edges.low, edges.high, edges.blur));
}

}  // namespace

int run_condition(int argc, char** argv) {
  Flags flags(argc, argv);
  if (flags.take_switch("help") || argc == 0) {
    fmt::print("{}{}", kUsage, flag_help<Settings>());
    return argc == 0 ? exit_code(ErrorKind::kUsage) : 0;
  }
  Settings settings;
  read_flags(flags, settings);
  const auto out = flags.take("out");
  flags.refuse_unknown();
  check(settings.edges);
  if (flags.words().size() != 1 || !out || !out->ends_with(".png")) {
    throw Error(ErrorKind::kUsage, "mos condition needs one photo and --out FILE.png");
  }
  Outputs outputs;
  outputs.read("the photo", flags.words().front());
  outputs.write(FileOutput{.name = "--out", .path = *out, .kind = picture_kind()});
  outputs.check();
  const auto photo = io::read_image(flags.words().front());
  const auto picture = io::edge_picture(photo.pixels, settings.edges);
  cancel_on_interrupt();  // what is being written is finished or goes
  io::write_png(*out, picture);
  fmt::print("{}\n", *out);
  return 0;
}

}  // namespace mos::app
