#include "mos/region/picture_options.h"

#include <fmt/core.h>

#include <algorithm>

#include "mos/base/require.h"

namespace mos::region {
namespace {

void check_share(const char* name, double value) {
  require(value > 0.0, fmt::format("{} is {}, expected above 0 and at most 1", name, value));
}

}  // namespace

double strength_of(const PictureOptions& options) {
  return options.init.empty() || !options.grow.empty() ? 1.0 : options.strength;
}

void check_picture_options(const PictureOptions& options) {
  check_share("strength", options.strength);
  check_share("hires_strength", options.hires_strength);
  const bool has_init = !options.init.empty();
  require(options.mask.empty() || has_init,
          "--mask says what is painted again in a picture: give that with --init");
  require(options.redo_region.empty() || has_init,
          "--redo-region paints a part of a picture again: give that with --from or --init");
  require(options.grow.empty() || has_init,
          "--grow paints beyond a picture: give that with --init");
  const int masks = !options.mask.empty() + !options.redo_region.empty() + !options.grow.empty();
  require(masks <= 1, "--mask, --redo-region and --grow each say what is painted again: give one");
  require(options.mask_feather == 0.0 || masks == 1,
          "--mask-feather softens the edge of a mask, and there is none");
  const auto& grow = options.grow;
  require(grow.empty() || (grow.size() == 4 &&
                           std::any_of(grow.begin(), grow.end(), [](auto x) { return x > 0; })),
          "--grow needs four numbers of pixels, left,top,right,bottom, and one above 0");
  const auto* part = !options.mask.empty()          ? "--mask"
                     : !options.redo_region.empty() ? "--redo-region"
                                                    : "--grow";
  require(options.hires == 1.0 || masks == 0,
          fmt::format("--hires paints the whole picture larger, so it does not go with {}, which "
                      "paints a part: make the part first, then begin with that picture (--init)",
                      part));
  const PictureOptions usual;
  require(has_init || options.strength == usual.strength,
          "--strength is of the picture that painting begins with: give that with --init");
  require(
      options.grow.empty() || options.strength == usual.strength,
      "--strength is of what a picture has, and --grow paints what it has not, from noise alone: "
      "give one of them");
  require(
      options.hires != 1.0 || (options.hires_strength == usual.hires_strength &&
                               options.hires_upscale == usual.hires_upscale),
      "--hires-strength and --hires-upscale are of a second pass: ask for one with --hires 2, for "
      "example");
}

}  // namespace mos::region
