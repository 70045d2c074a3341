#pragma once

#include <functional>
#include <span>

#include "mos/world/canvas.h"
#include "mos/world/random.h"

/// What the drawn scenes are made of. Lengths and places are those of Canvas.
namespace mos::world {

using Line = std::function<double(double)>;  ///< y over x.

/// One colour of a scene, a little different in every picture.
Rgb vary(const Rgb& colour, Rng& rng);

/// One of several colours, a little different in every picture.
Rgb one_of(std::span<const Rgb> colours, Rng& rng);

/// How many of something that stands `density` times on each width of a square picture.
int many(const Canvas& canvas, double density, Rng& rng);

/// A hilly line around y = level: two waves with random phases, `frequency` to each square width.
Line hills(Rng& rng, double level, double amplitude, double frequency);

Line level_line(double level);

/// `line`, moved down by `distance`.
Line lowered(Line line, double distance);

/// A sky from zenith to horizon.
struct Sky {
  Rgb top{}, bottom{};
};

/// A sky of daylight down to `horizon`, with clouds down to `lowest_cloud`.
void day(Canvas& canvas, Rng& rng, double horizon, double lowest_cloud);

/// A share of the canvas's width.
double across(const Canvas& canvas, Rng& rng, double low, double high);

/// A disc in a glow.
void sun(Canvas& canvas, double x, double y, double radius, const Rgb& colour);

/// White clouds with a shaded base between y = 0.06 and `lowest`.
void clouds(Canvas& canvas, Rng& rng, double lowest, const Rgb& shade);

/// A fir of three storeys, lit from the left.
struct Pine {
  double x = 0.5, foot = 0.7, height = 0.3;
  Rgb colour{};
  double snow = 0.0;  ///< 0: none … 1: white storeys.
};
void pine(Canvas& canvas, const Pine& tree);

/// A peak lit from the left with a cap of snow.
struct Peak {
  double x = 0.5, top = 0.2, foot = 0.6, half_width = 0.3;
  Rgb rock{};
  double snow = 0.35;  ///< Share of the height that is white.
};
void peak(Canvas& canvas, const Peak& mountain);

/// Blades of grass whose feet lie between the line and the lower edge of the picture.
void tufts(Canvas& canvas, Rng& rng, const Line& from, const Rgb& colour, double density);

/// Round dots below the line, larger towards the front.
void dots(Canvas& canvas, Rng& rng, const Line& from, std::span<const Rgb> colours, double density);

}  // namespace mos::world
