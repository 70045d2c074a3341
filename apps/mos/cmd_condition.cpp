#include <fmt/core.h>

#include "command.h"
#include "mos/base/describe.h"
#include "mos/base/outputs.h"
#include "mos/io/edges.h"
#include "mos/io/image.h"
#include "mos/session/output_kinds.h"

namespace mos::app {
namespace {

constexpr const char* kUsage =
    "usage: mos condition PHOTO --out FILE.png [options]\n"
    "\n"
    "Makes the condition picture of a sketch adapter from a photo: its edges, white on black.\n"
    "\n";

struct Settings {
  std::string out;
  io::EdgeOptions edges;
};

template <class Visitor>
void describe(Visitor& visit, Settings& settings) {
  visit("out", settings.out, "the picture, a .png", a_path());
  visit("blur", settings.edges.blur, "pixels: larger keeps only coarse edges", between(0, 100));
  visit("high", settings.edges.high, "gradient that begins an edge, 0 to 1", between(0, 1));
  visit("low", settings.edges.low, "gradient that goes on with one", between(0, 1));
}

std::string help() { return kUsage + flag_help<Settings>(); }

int run(Flags& flags, const Terminal&) {
  Settings settings;
  flags.read(settings);
  if (settings.edges.low > settings.edges.high) {
    throw Error(ErrorKind::kUsage, fmt::format("--low {} must not be above --high {}",
                                               settings.edges.low, settings.edges.high));
  }
  if (flags.words().size() != 1 || !settings.out.ends_with(".png")) {
    throw Error(ErrorKind::kUsage, "mos condition needs one photo and --out FILE.png");
  }
  const auto& photo = flags.words().front();
  Outputs outputs;
  outputs.read("the photo", photo);
  outputs.write(FileOutput{.name = "--out", .path = settings.out, .kind = session::picture_kind()});
  outputs.check();
  const auto picture = io::edge_picture(io::read_image(photo).pixels, settings.edges);
  cancel_on_interrupt();  // what is being written is finished or goes
  io::write_png(settings.out, picture);
  fmt::print("{}\n", settings.out);
  return 0;
}

}  // namespace

const Command kCondition = {.name = "condition",
                            .summary = "make a condition picture from a photo",
                            .options = options_of<Settings>,
                            .help = help,
                            .run = run};

}  // namespace mos::app
