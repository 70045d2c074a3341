#include "mos/world/landscapes.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <tuple>

#include "mos/world/scene_parts.h"

namespace mos::world {
namespace {

/// A dune whose lee side, right of its crest, lies in the shade.
void dune(Canvas& canvas, Rng& rng, double level, const Rgb& sand) {
  const auto line = hills(rng, level, 0.045, 0.7);
  canvas.ground(line, sand, mix(sand, {0.70f, 0.42f, 0.20f}, 0.45));
  const double crest = rng.uniform() * canvas.width(), length = rng.range(0.35, 0.6);
  const auto shade = [=](double x) {
    const double t = (x - crest) / length;
    return line(x) + (t < 0.0 || t > 1.0 ? 0.0 : 0.16 * std::sin(std::numbers::pi * t) * t);
  };
  canvas.band(line, shade, mix(sand, {0.55f, 0.30f, 0.18f}, 0.4));
}

}  // namespace

void beach(Canvas& canvas, Rng& rng) {
  const double H = canvas.height();
  const double horizon = H * rng.range(0.36, 0.46);
  const double shore = horizon + H * rng.range(0.16, 0.22);
  day(canvas, rng, horizon, 0.6 * horizon);
  if (rng.chance(0.6)) {
    sun(canvas, across(canvas, rng, 0.1, 0.9), H * rng.range(0.1, 0.16), 0.065,
        {1.0f, 0.90f, 0.45f});
  }
  const auto deep = vary({0.10f, 0.43f, 0.74f}, rng);
  const Rgb shallow{0.36f, 0.80f, 0.86f};
  canvas.ground(level_line(horizon), deep, shallow);
  for (int i = 1; i <= 3; ++i) {
    const double y = horizon + (shore - horizon) * (0.22 * i + rng.range(-0.04, 0.04));
    const auto crest = hills(rng, y, 0.006, 2.0);
    canvas.band(crest, lowered(crest, 0.006 + 0.003 * i), {0.80f, 0.94f, 0.97f}, 0.7);
  }
  const auto edge = hills(rng, shore, 0.018, 0.8);
  const auto sand = vary({0.97f, 0.87f, 0.64f}, rng);
  // Foam: white that the sand, drawn next and a little lower, leaves a rim of.
  canvas.ground(lowered(edge, -0.018), {0.97f, 0.99f, 1.0f}, {0.97f, 0.99f, 1.0f});
  canvas.ground(edge, mix(sand, {0.62f, 0.50f, 0.34f}, 0.4), mix(sand, {0.6f, 0.5f, 0.3f}, 0.4));
  const auto dry = hills(rng, shore + 0.05, 0.016, 0.8);
  canvas.ground(dry, sand, mix(sand, {0.86f, 0.66f, 0.36f}, 0.55));
  const std::array<Rgb, 3> shells = {
      Rgb{0.86f, 0.72f, 0.50f}, {0.99f, 0.96f, 0.90f}, {0.95f, 0.72f, 0.62f}};
  dots(canvas, rng, dry, shells, 9.0);
}

void forest(Canvas& canvas, Rng& rng) {
  const double H = canvas.height();
  const double edge = H * rng.range(0.62, 0.68);
  const std::array<Rgb, 3> lights = {
      Rgb{0.72f, 0.88f, 0.62f}, {0.62f, 0.82f, 0.72f}, {0.92f, 0.90f, 0.62f}};
  const auto light = one_of(lights, rng);
  canvas.gradient(mix(light, {0.30f, 0.56f, 0.42f}, 0.6), light, edge);
  const Rgb far = mix(vary({0.26f, 0.52f, 0.36f}, rng), light, 0.35);
  const Rgb middle = vary({0.16f, 0.42f, 0.26f}, rng);
  const Rgb near = vary({0.08f, 0.29f, 0.18f}, rng);
  // From far to near, each row of trees darker and taller: air is what makes depth.
  for (const auto& [density, colour, height] :
       {std::tuple{7.0, far, 0.5}, {5.0, middle, 0.62}, {3.0, near, 0.78}}) {
    const int count = std::max(1, static_cast<int>(std::lround(density * canvas.width())));
    const double shift = rng.range(-0.06, 0.06);
    for (int i = 0; i < count; ++i) {
      const double x = canvas.width() * (i + 0.5) / count + shift + rng.range(-0.04, 0.04);
      pine(canvas, {.x = x,
                    .foot = edge + 0.02 + 0.02 * height,
                    .height = height * H * rng.range(0.8, 1.08),
                    .colour = colour});
    }
  }
  const auto floor = hills(rng, edge + 0.01, 0.012, 1.0);
  const auto moss = vary({0.36f, 0.58f, 0.27f}, rng);
  canvas.ground(floor, moss, mix(moss, {0.16f, 0.33f, 0.16f}, 0.6));
  tufts(canvas, rng, floor, mix(moss, {0.10f, 0.28f, 0.12f}, 0.5), 10.0);
  tufts(canvas, rng, floor, mix(moss, {0.75f, 0.90f, 0.45f}, 0.4), 5.0);
}

void mountains(Canvas& canvas, Rng& rng) {
  const double H = canvas.height();
  const double foot = H * rng.range(0.62, 0.68);
  day(canvas, rng, foot, 0.22 * H);
  const auto range = [&](double density, double low, double high, const Rgb& rock, double snow) {
    const int count = std::max(2, static_cast<int>(std::lround(density * canvas.width())));
    for (int i = 0; i < count; ++i) {
      const double height = H * rng.range(low, high);
      peak(canvas, {.x = canvas.width() * (i + 0.5) / count + rng.range(-0.08, 0.08),
                    .top = foot - height,
                    .foot = foot + 0.02,
                    .half_width = height * rng.range(0.75, 0.95),
                    .rock = rock,
                    .snow = snow});
    }
  };
  // Two ranges, the far one paler.
  range(3.0, 0.24, 0.34, vary({0.62f, 0.70f, 0.84f}, rng), 0.25);
  range(2.0, 0.38, 0.52, vary({0.42f, 0.44f, 0.56f}, rng), 0.36);
  const auto meadow = hills(rng, foot, 0.02, 0.9);
  const auto green = vary({0.44f, 0.66f, 0.36f}, rng);
  for (int i = many(canvas, 4.0, rng); i > 0; --i) {
    const double x = rng.uniform() * canvas.width();
    pine(canvas, {.x = x,
                  .foot = meadow(x) + 0.02,
                  .height = rng.range(0.1, 0.17),
                  .colour = {0.16f, 0.40f, 0.28f}});
  }
  canvas.ground(meadow, green, mix(green, {0.24f, 0.44f, 0.22f}, 0.6));
  const std::array<Rgb, 2> rocks = {Rgb{0.60f, 0.60f, 0.64f}, {0.50f, 0.51f, 0.56f}};
  dots(canvas, rng, meadow, rocks, 4.0);
  tufts(canvas, rng, meadow, mix(green, {0.16f, 0.36f, 0.16f}, 0.6), 6.0);
}

void snow(Canvas& canvas, Rng& rng) {
  const double H = canvas.height();
  const double field = H * rng.range(0.54, 0.62);
  const std::array<Rgb, 3> skies = {
      Rgb{0.60f, 0.76f, 0.93f}, {0.70f, 0.76f, 0.86f}, {0.74f, 0.72f, 0.90f}};
  canvas.gradient(one_of(skies, rng), {0.93f, 0.95f, 0.99f}, field);
  const auto far = hills(rng, field - 0.07, 0.04, 0.9);
  canvas.ground(far, {0.80f, 0.87f, 0.96f}, {0.84f, 0.90f, 0.97f});
  for (int i = many(canvas, 5.0, rng); i > 0; --i) {
    pine(canvas, {.x = rng.uniform() * canvas.width(),
                  .foot = field + 0.035,
                  .height = rng.range(0.2, 0.4),
                  .colour = vary({0.20f, 0.46f, 0.44f}, rng),
                  .snow = rng.range(0.35, 0.7)});
  }
  canvas.ground(hills(rng, field, 0.02, 0.8), {0.97f, 0.98f, 1.0f}, {0.88f, 0.92f, 0.98f});
  const auto drift = hills(rng, field + H * rng.range(0.13, 0.18), 0.025, 0.7);
  canvas.ground(drift, {0.93f, 0.96f, 1.0f}, vary({0.80f, 0.87f, 0.96f}, rng));
  for (int i = many(canvas, 26.0, rng); i > 0; --i) {
    const double radius = rng.range(0.005, 0.012);
    canvas.ellipse(rng.uniform() * canvas.width(), H * rng.uniform(), radius, radius,
                   {1.0f, 1.0f, 1.0f}, 0.9);
  }
}

void desert(Canvas& canvas, Rng& rng) {
  const double H = canvas.height();
  const double horizon = H * rng.range(0.46, 0.54);
  const std::array<Sky, 2> skies = {{{{0.96f, 0.66f, 0.40f}, {1.0f, 0.90f, 0.68f}},
                                     {{0.40f, 0.70f, 0.92f}, {0.99f, 0.92f, 0.76f}}}};
  const auto& sky = skies[static_cast<std::size_t>(rng.below(2))];
  canvas.gradient(vary(sky.top, rng), vary(sky.bottom, rng), horizon);
  sun(canvas, across(canvas, rng, 0.12, 0.88), H * rng.range(0.12, 0.22), 0.08,
      {1.0f, 0.96f, 0.78f});
  const auto rock = vary({0.78f, 0.46f, 0.34f}, rng);
  for (int i = many(canvas, 1.2, rng); i > 0; --i) {  // table mountains
    const double x = rng.uniform() * canvas.width(), half = rng.range(0.07, 0.14);
    const double top = horizon - rng.range(0.1, 0.17);
    canvas.trapezoid({.top = top,
                      .left_at_top = x - half,
                      .right_at_top = x + half,
                      .bottom = horizon + 0.03,
                      .left_at_bottom = x - 1.5 * half,
                      .right_at_bottom = x + 1.5 * half},
                     rock);
    canvas.rectangle(x - half, top, x + half, top + 0.02, mix(rock, {1.0f, 0.8f, 0.6f}, 0.4));
  }
  dune(canvas, rng, horizon, vary({0.94f, 0.74f, 0.46f}, rng));
  dune(canvas, rng, horizon + H * rng.range(0.14, 0.2), vary({0.90f, 0.65f, 0.36f}, rng));
}

void meadow(Canvas& canvas, Rng& rng) {
  const double H = canvas.height();
  const double horizon = H * rng.range(0.5, 0.58);
  day(canvas, rng, horizon, 0.55 * horizon);
  canvas.ground(hills(rng, horizon - 0.04, 0.04, 0.8), vary({0.56f, 0.78f, 0.62f}, rng),
                {0.50f, 0.74f, 0.52f});
  const auto far = vary({0.64f, 0.85f, 0.42f}, rng);
  canvas.ground(hills(rng, horizon + 0.03, 0.03, 0.7), far, mix(far, {0.36f, 0.66f, 0.28f}, 0.5));
  const auto near = hills(rng, horizon + H * rng.range(0.13, 0.17), 0.025, 0.9);
  const auto grass = vary({0.45f, 0.76f, 0.30f}, rng);
  canvas.ground(near, grass, mix(grass, {0.20f, 0.50f, 0.18f}, 0.6));
  tufts(canvas, rng, near, mix(grass, {0.12f, 0.40f, 0.14f}, 0.55), 10.0);
  const std::array<Rgb, 4> petals = {Rgb{0.98f, 0.86f, 0.30f},
                                     {0.98f, 0.98f, 0.96f},
                                     {0.93f, 0.38f, 0.38f},
                                     {0.80f, 0.55f, 0.90f}};
  dots(canvas, rng, near, petals, 14.0);
}

void lake(Canvas& canvas, Rng& rng) {
  const double H = canvas.height();
  const double water = H * rng.range(0.42, 0.5), shore = H * rng.range(0.76, 0.81);
  day(canvas, rng, water, 0.5 * water);
  const auto ridge = hills(rng, water - 0.1, 0.05, 0.9);
  const auto green = vary({0.30f, 0.52f, 0.44f}, rng);
  canvas.ground(ridge, green, mix(green, {0.2f, 0.4f, 0.3f}, 0.5));
  for (int i = many(canvas, 6.0, rng); i > 0; --i) {
    pine(canvas, {.x = rng.uniform() * canvas.width(),
                  .foot = water + 0.005,
                  .height = rng.range(0.1, 0.17),
                  .colour = {0.14f, 0.36f, 0.28f}});
  }
  canvas.ground(level_line(water), vary({0.42f, 0.72f, 0.86f}, rng), {0.10f, 0.38f, 0.62f});
  // What stands above the water is seen in it, shortened.
  const auto mirrored = [&](double x) { return water + 0.6 * (water - ridge(x)); };
  canvas.band(level_line(water), mirrored, mix(green, {0.20f, 0.50f, 0.64f}, 0.5), 0.75);
  for (int i = many(canvas, 12.0, rng); i > 0; --i) {
    const double x = rng.uniform() * canvas.width(), y = water + (shore - water) * rng.uniform();
    canvas.rectangle(x, y, x + rng.range(0.06, 0.16), y + 0.007, {0.85f, 0.95f, 1.0f}, 0.7);
  }
  const auto bank = hills(rng, shore, 0.015, 0.7);
  const auto grass = vary({0.52f, 0.68f, 0.32f}, rng);
  canvas.ground(lowered(bank, -0.014), {0.86f, 0.80f, 0.60f}, {0.86f, 0.80f, 0.60f});
  canvas.ground(bank, grass, mix(grass, {0.28f, 0.44f, 0.18f}, 0.6));
  tufts(canvas, rng, bank, mix(grass, {0.20f, 0.40f, 0.16f}, 0.6), 9.0);
}

void lavender(Canvas& canvas, Rng& rng) {
  const double H = canvas.height();
  const double horizon = H * rng.range(0.4, 0.46);
  canvas.gradient(vary({0.98f, 0.86f, 0.55f}, rng), {0.99f, 0.95f, 0.80f}, horizon);
  const double mill = across(canvas, rng, 0.15, 0.85);
  canvas.cone(mill, horizon - 0.32, horizon + 0.02, 0.10, {0.87f, 0.60f, 0.46f});
  canvas.cone(mill, horizon - 0.32, horizon - 0.2, 0.07, {0.55f, 0.20f, 0.22f});
  const auto purple = vary({0.55f, 0.36f, 0.76f}, rng);
  const auto green = vary({0.44f, 0.55f, 0.32f}, rng);
  const double vanishing = across(canvas, rng, 0.35, 0.65);
  const double shift = rng.uniform();
  for (std::int64_t y = 0; y < canvas.rows(); ++y) {
    const double depth = (static_cast<double>(y) + 0.5) / canvas.unit();
    if (depth < horizon) continue;
    // Rows that run to a vanishing point: their width grows with the distance from the horizon;
    // 0.08 keeps them finite there.
    const double scale = (depth - horizon) / (H - horizon) + 0.08;
    for (std::int64_t x = 0; x < canvas.columns(); ++x) {
      const double aside = static_cast<double>(x) / canvas.unit() - vanishing;
      const double wave = std::sin(2.0 * std::numbers::pi * (3.2 * aside / scale + shift));
      const double sharp = std::clamp(1.6 * scale * wave + 0.35 + 0.3 * (1.0 - scale), 0.0, 1.0);
      const auto colour = mix(green, purple, sharp);
      std::copy(colour.begin(), colour.end(), canvas.pixel(y, x));
    }
  }
}

}  // namespace mos::world
