#include "mos/world/scene_parts.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

namespace mos::world {
namespace {

constexpr std::array<Sky, 3> kDaySkies = {{{{0.30f, 0.60f, 0.94f}, {0.78f, 0.91f, 1.0f}},
                                           {{0.45f, 0.72f, 0.97f}, {0.90f, 0.96f, 1.0f}},
                                           {{0.40f, 0.66f, 0.90f}, {0.99f, 0.93f, 0.84f}}}};

constexpr Rgb kWhite{1.0f, 1.0f, 1.0f};
constexpr Rgb kBlack{0.0f, 0.0f, 0.0f};

Rgb lighter(const Rgb& colour, double share) { return mix(colour, kWhite, share); }
Rgb darker(const Rgb& colour, double share) { return mix(colour, kBlack, share); }

/// A place between the line and the lower edge: further down more often, as things in front are
/// larger and hide what is behind. Returns x, y and how near it is (0…1).
std::array<double, 3> place_below(const Canvas& canvas, Rng& rng, const Line& from) {
  const double x = rng.uniform() * canvas.width();
  const double near = std::sqrt(rng.uniform());
  const double top = from(x);
  return {x, top + near * (canvas.height() - top), near};
}

}  // namespace

Rgb vary(const Rgb& colour, Rng& rng) {
  // One factor for all channels, so that the hue stays what captions say of it.
  const auto light = static_cast<float>(rng.range(0.94, 1.06));
  Rgb varied = colour;
  for (auto& channel : varied) {
    channel = std::min(1.0f, channel * light + static_cast<float>(rng.range(-0.015, 0.015)));
  }
  return varied;
}

Rgb one_of(std::span<const Rgb> colours, Rng& rng) {
  return vary(colours[static_cast<std::size_t>(rng.below(static_cast<int>(colours.size())))], rng);
}

int many(const Canvas& canvas, double density, Rng& rng) {
  // Wide canvases have more of everything; the share of a whole one is drawn.
  return static_cast<int>(density * canvas.width() * rng.range(0.75, 1.25) + rng.uniform());
}

Line hills(Rng& rng, double level, double amplitude, double frequency) {
  const double turn = 2.0 * std::numbers::pi;
  const double phase_1 = rng.range(0.0, turn);
  const double phase_2 = rng.range(0.0, turn);
  const double stretch = frequency * rng.range(0.85, 1.15);
  return [=](double x) {
    // Two waves whose ratio is no whole number: no two hills are alike.
    return level + amplitude * (0.7 * std::sin(turn * stretch * x + phase_1) +
                                0.3 * std::sin(turn * 2.1 * stretch * x + phase_2));
  };
}

Line level_line(double level) {
  return [level](double) { return level; };
}

Line lowered(Line line, double distance) {
  return [line = std::move(line), distance](double x) { return line(x) + distance; };
}

void day(Canvas& canvas, Rng& rng, double horizon, double lowest_cloud) {
  const auto& sky = kDaySkies[static_cast<std::size_t>(rng.below(kDaySkies.size()))];
  const auto bottom = vary(sky.bottom, rng);
  canvas.gradient(vary(sky.top, rng), bottom, horizon);
  clouds(canvas, rng, lowest_cloud, mix(bottom, {0.70f, 0.76f, 0.86f}, 0.5));
}

double across(const Canvas& canvas, Rng& rng, double low, double high) {
  return canvas.width() * rng.range(low, high);
}

void sun(Canvas& canvas, double x, double y, double radius, const Rgb& colour) {
  canvas.ellipse(x, y, 1.9 * radius, 1.9 * radius, lighter(colour, 0.3), 0.35, 1.7 * radius);
  canvas.ellipse(x, y, radius, radius, colour);
}

void clouds(Canvas& canvas, Rng& rng, double lowest, const Rgb& shade) {
  constexpr Rgb kCloud{0.99f, 0.99f, 1.0f};
  for (int i = many(canvas, 1.3, rng); i > 0; --i) {
    const double x = rng.uniform() * canvas.width();
    const double y = rng.range(0.06, lowest);
    const double r = rng.range(0.035, 0.06);
    for (const auto& [colour, drop] : {std::pair{shade, 0.35 * r}, {kCloud, 0.0}}) {
      canvas.ellipse(x - 1.3 * r, y + 0.25 * r + drop, 1.1 * r, 0.6 * r, colour);
      canvas.ellipse(x + 1.4 * r, y + 0.2 * r + drop, 1.3 * r, 0.65 * r, colour);
      canvas.ellipse(x, y - 0.1 * r + drop, 1.2 * r, 0.95 * r, colour);
    }
  }
}

void pine(Canvas& canvas, const Pine& tree) {
  const double h = tree.height;
  canvas.rectangle(tree.x - 0.035 * h, tree.foot - 0.14 * h, tree.x + 0.035 * h, tree.foot,
                   {0.36f, 0.25f, 0.18f});
  const auto body = mix(tree.colour, kWhite, tree.snow * 0.85);
  const auto lit = lighter(body, 0.16), dark = darker(body, 0.12 + 0.25 * tree.snow);
  for (int storey = 0; storey < 3; ++storey) {
    const double bottom = tree.foot - (0.1 + 0.25 * storey) * h;
    const double top = bottom - (0.42 - 0.03 * storey) * h;
    const double half = (0.3 - 0.07 * storey) * h;
    canvas.cone(tree.x, top, bottom, half, dark);
    canvas.trapezoid({.top = top,
                      .left_at_top = tree.x,
                      .right_at_top = tree.x,
                      .bottom = bottom,
                      .left_at_bottom = tree.x - half,
                      .right_at_bottom = tree.x + 0.1 * half},
                     lit);
  }
}

void peak(Canvas& canvas, const Peak& mountain) {
  const auto side = [&](double share, double left, double right, const Rgb& colour) {
    canvas.trapezoid({.top = mountain.top,
                      .left_at_top = mountain.x,
                      .right_at_top = mountain.x,
                      .bottom = mountain.top + share * (mountain.foot - mountain.top),
                      .left_at_bottom = mountain.x + share * left * mountain.half_width,
                      .right_at_bottom = mountain.x + share * right * mountain.half_width},
                     colour);
  };
  side(1.0, -1.0, 0.15, lighter(mountain.rock, 0.18));
  side(1.0, 0.15, 1.0, darker(mountain.rock, 0.12));
  if (mountain.snow <= 0.0) return;
  constexpr Rgb kLit{0.98f, 0.98f, 1.0f}, kShaded{0.80f, 0.85f, 0.95f};
  side(mountain.snow, -1.0, 0.15, kLit);
  side(mountain.snow * 0.8, 0.15, 1.0, kShaded);
  side(mountain.snow * 1.35, -0.35, 0.0, kLit);
  side(mountain.snow * 1.2, 0.3, 0.6, kShaded);
}

void tufts(Canvas& canvas, Rng& rng, const Line& from, const Rgb& colour, double density) {
  for (int i = many(canvas, density, rng); i > 0; --i) {
    const auto [x, y, near] = place_below(canvas, rng, from);
    const double h = (0.014 + 0.03 * near) * rng.range(0.8, 1.2);
    for (const double lean : {-0.5, 0.0, 0.5}) {
      canvas.trapezoid({.top = y - h,
                        .left_at_top = x + lean * h,
                        .right_at_top = x + lean * h + 0.004,
                        .bottom = y,
                        .left_at_bottom = x + 0.3 * lean * h - 0.006,
                        .right_at_bottom = x + 0.3 * lean * h + 0.006},
                       colour);
    }
  }
}

void dots(Canvas& canvas, Rng& rng, const Line& from, std::span<const Rgb> colours,
          double density) {
  for (int i = many(canvas, density, rng); i > 0; --i) {
    const auto [x, y, near] = place_below(canvas, rng, from);
    const double radius = 0.006 + 0.011 * near;
    canvas.ellipse(x, y, radius, 0.8 * radius, one_of(colours, rng));
  }
}

}  // namespace mos::world
