#include "mos/world/scenes.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <tuple>

#include "mos/world/scene_parts.h"

namespace mos::world {
namespace {

/// A sky from zenith to horizon.
struct Sky {
  Rgb top{}, bottom{};
};

constexpr std::array<Sky, 3> kDaySkies = {{{{0.30f, 0.60f, 0.94f}, {0.78f, 0.91f, 1.0f}},
                                           {{0.45f, 0.72f, 0.97f}, {0.90f, 0.96f, 1.0f}},
                                           {{0.40f, 0.66f, 0.90f}, {0.99f, 0.93f, 0.84f}}}};

/// A sky of daylight down to `horizon`, with clouds down to `lowest_cloud`.
void day(Canvas& canvas, Rng& rng, double horizon, double lowest_cloud) {
  const auto& sky = kDaySkies[static_cast<std::size_t>(rng.below(kDaySkies.size()))];
  const auto bottom = vary(sky.bottom, rng);
  canvas.gradient(vary(sky.top, rng), bottom, horizon);
  clouds(canvas, rng, lowest_cloud, mix(bottom, {0.70f, 0.76f, 0.86f}, 0.5));
}

/// A share of the canvas's width.
double across(const Canvas& canvas, Rng& rng, double low, double high) {
  return canvas.width() * rng.range(low, high);
}

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

/// One house of a street: a wall with rows of windows and a roof line.
void tower_block(Canvas& canvas, Rng& rng, double left, double right, double top, double street) {
  const std::array<Rgb, 5> walls = {Rgb{0.80f, 0.50f, 0.42f},
                                    {0.48f, 0.58f, 0.72f},
                                    {0.86f, 0.76f, 0.58f},
                                    {0.56f, 0.66f, 0.62f},
                                    {0.68f, 0.58f, 0.70f}};
  const auto wall = one_of(walls, rng);
  canvas.rectangle(left, top, right, street, wall);
  canvas.rectangle(right - 0.18 * (right - left), top, right, street,
                   mix(wall, {0.1f, 0.1f, 0.2f}, 0.16));
  canvas.rectangle(left - 0.008, top - 0.014, right + 0.008, top, mix(wall, {0, 0, 0}, 0.3));
  const auto glass = rng.chance(0.5) ? Rgb{1.0f, 0.92f, 0.62f} : Rgb{0.72f, 0.88f, 0.98f};
  const double width = right - left;
  for (double y = top + 0.045; y < street - 0.1; y += 0.1) {
    for (const double share : {0.14, 0.52}) {
      canvas.rectangle(left + share * width, y, left + (share + 0.22) * width, y + 0.052, glass);
    }
  }
}

void city(Canvas& canvas, Rng& rng) {
  const double H = canvas.height();
  const double street = H * rng.range(0.69, 0.74);
  day(canvas, rng, street, 0.2 * H);
  const auto haze = vary({0.70f, 0.78f, 0.88f}, rng);
  for (double x = rng.range(-0.1, 0.0); x < canvas.width(); x += rng.range(0.1, 0.16)) {
    canvas.rectangle(x, H * rng.range(0.18, 0.4), x + 0.1, street, haze);
  }
  for (double x = rng.range(-0.12, 0.0); x < canvas.width();) {
    const double width = rng.range(0.17, 0.25);
    tower_block(canvas, rng, x, x + width - 0.012, H * rng.range(0.22, 0.48), street);
    x += width;
  }
  canvas.ground(level_line(street), {0.78f, 0.77f, 0.75f}, {0.78f, 0.77f, 0.75f});
  canvas.rectangle(0.0, street + 0.045, canvas.width(), street + 0.055, {0.60f, 0.60f, 0.60f});
  const auto road = vary({0.40f, 0.41f, 0.45f}, rng);
  canvas.ground(level_line(street + 0.055), road, mix(road, {0.1f, 0.1f, 0.12f}, 0.25));
  for (double x = rng.range(-0.2, 0.0); x < canvas.width(); x += 0.3) {
    canvas.rectangle(x, H - 0.085, x + 0.16, H - 0.065, {0.95f, 0.93f, 0.82f});
  }
}

void night(Canvas& canvas, Rng& rng) {
  const double H = canvas.height();
  canvas.gradient(vary({0.04f, 0.05f, 0.19f}, rng), vary({0.20f, 0.22f, 0.50f}, rng), 0.75 * H);
  for (int i = many(canvas, 22.0, rng); i > 0; --i) {
    const double radius = rng.chance(0.25) ? 0.011 : 0.006;
    canvas.ellipse(rng.uniform() * canvas.width(), H * rng.range(0.02, 0.6), radius, radius,
                   {0.97f, 0.97f, 0.86f});
  }
  const double x = across(canvas, rng, 0.12, 0.88), y = H * rng.range(0.1, 0.2);
  sun(canvas, x, y, 0.08, {0.98f, 0.95f, 0.80f});
  canvas.ellipse(x - 0.025, y - 0.02, 0.018, 0.018, {0.90f, 0.86f, 0.70f});
  canvas.ellipse(x + 0.03, y + 0.022, 0.014, 0.014, {0.90f, 0.86f, 0.70f});
  const auto far = hills(rng, H * rng.range(0.6, 0.66), 0.05, 0.9);
  canvas.ground(far, {0.12f, 0.16f, 0.36f}, {0.10f, 0.14f, 0.30f});
  const auto near = hills(rng, H * rng.range(0.73, 0.77), 0.03, 0.7);
  for (int i = many(canvas, 5.0, rng); i > 0; --i) {  // windows of a village
    const double place = rng.uniform() * canvas.width();
    const double above = near(place) - rng.range(0.012, 0.05);
    canvas.rectangle(place, above, place + 0.016, above + 0.018, {1.0f, 0.83f, 0.40f});
  }
  canvas.ground(near, vary({0.10f, 0.22f, 0.27f}, rng), {0.04f, 0.09f, 0.14f});
  tufts(canvas, rng, near, {0.16f, 0.32f, 0.36f}, 6.0);
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

/// A window with the sky in it and a curtain on either side.
void window(Canvas& canvas, double x, double y, const Rgb& curtain) {
  canvas.rectangle(x, y, x + 0.28, y + 0.32, {0.99f, 0.99f, 0.97f});
  for (const double left : {0.025, 0.15}) {
    canvas.rectangle(x + left, y + 0.025, x + left + 0.105, y + 0.295, {0.60f, 0.82f, 0.97f});
    canvas.rectangle(x + left, y + 0.22, x + left + 0.105, y + 0.295, {0.60f, 0.82f, 0.50f});
  }
  for (const double side : {-1.0, 1.0}) {
    const double middle = x + 0.14 + side * 0.15;
    canvas.trapezoid({.top = y - 0.02,
                      .left_at_top = middle - 0.05,
                      .right_at_top = middle + 0.05,
                      .bottom = y + 0.36,
                      .left_at_bottom = middle + side * 0.015 - 0.03,
                      .right_at_bottom = middle + side * 0.015 + 0.03},
                     curtain);
  }
}

void room(Canvas& canvas, Rng& rng) {
  const double H = canvas.height();
  const double floor = H * rng.range(0.69, 0.75);
  const std::array<Rgb, 4> papers = {Rgb{0.95f, 0.87f, 0.74f},
                                     {0.80f, 0.88f, 0.86f},
                                     {0.93f, 0.80f, 0.78f},
                                     {0.84f, 0.84f, 0.93f}};
  const auto paper = one_of(papers, rng);
  canvas.gradient(paper, mix(paper, {0.6f, 0.5f, 0.4f}, 0.12), floor);
  const std::array<Rgb, 3> fabrics = {
      Rgb{0.83f, 0.36f, 0.34f}, {0.30f, 0.52f, 0.70f}, {0.36f, 0.60f, 0.46f}};
  const auto fabric = one_of(fabrics, rng);
  for (double x = rng.range(0.08, 0.5); x < canvas.width() - 0.3; x += rng.range(0.8, 1.2)) {
    window(canvas, x, floor - H * rng.range(0.56, 0.6), fabric);
  }
  canvas.rectangle(0.0, floor - 0.035, canvas.width(), floor, {0.98f, 0.97f, 0.94f});
  const auto wood = vary({0.72f, 0.50f, 0.32f}, rng);
  canvas.ground(level_line(floor), wood, mix(wood, {0.40f, 0.24f, 0.14f}, 0.45));
  const double middle = 0.5 * canvas.width();
  for (double x = -0.2; x < canvas.width() + 0.2; x += 0.16) {  // boards run towards the viewer
    const double front = middle + 1.6 * (x - middle);
    canvas.trapezoid({.top = floor,
                      .left_at_top = x,
                      .right_at_top = x + 0.006,
                      .bottom = H,
                      .left_at_bottom = front,
                      .right_at_bottom = front + 0.01},
                     mix(wood, {0.30f, 0.18f, 0.10f}, 0.5));
  }
  const double rug = middle + rng.range(-0.1, 0.1), half = 0.38 * canvas.width();
  canvas.ellipse(rug, 0.895 * H, half, 0.075 * H, mix(fabric, {1, 1, 1}, 0.25));
  canvas.ellipse(rug, 0.895 * H, 0.88 * half, 0.058 * H, fabric);
}

void sea(Canvas& canvas, Rng& rng) {
  const double H = canvas.height();
  canvas.gradient(vary({0.32f, 0.76f, 0.90f}, rng), vary({0.03f, 0.26f, 0.52f}, rng), H);
  for (int i = many(canvas, 3.0, rng); i > 0; --i) {  // light from above
    const double x = rng.uniform() * canvas.width(), width = rng.range(0.05, 0.12);
    canvas.trapezoid({.top = 0.0,
                      .left_at_top = x,
                      .right_at_top = x + width,
                      .bottom = 0.8 * H,
                      .left_at_bottom = x - 0.25,
                      .right_at_bottom = x - 0.25 + 1.6 * width},
                     {0.80f, 0.97f, 1.0f}, 0.16);
  }
  const double bed = H * rng.range(0.8, 0.85);
  const std::array<Rgb, 3> corals = {
      Rgb{0.95f, 0.45f, 0.50f}, {0.98f, 0.66f, 0.36f}, {0.72f, 0.46f, 0.80f}};
  for (int i = many(canvas, 3.0, rng); i > 0; --i) {
    const double x = rng.uniform() * canvas.width(), height = rng.range(0.07, 0.13);
    const auto coral = one_of(corals, rng);
    for (const double lean : {-0.7, -0.25, 0.25, 0.7}) {
      canvas.ellipse(x + lean * height, bed - 0.5 * height * (1.2 - lean * lean), 0.022,
                     0.7 * height, coral);
    }
  }
  for (int i = many(canvas, 4.0, rng); i > 0; --i) {
    const double x = rng.uniform() * canvas.width();
    canvas.cone(x, bed - rng.range(0.14, 0.28), bed + 0.03, 0.022,
                vary({0.14f, 0.58f, 0.40f}, rng));
  }
  const auto line = hills(rng, bed, 0.02, 1.0);
  canvas.ground(line, vary({0.90f, 0.82f, 0.60f}, rng), {0.66f, 0.60f, 0.44f});
  const std::array<Rgb, 2> pebbles = {Rgb{0.72f, 0.66f, 0.50f}, {0.97f, 0.92f, 0.80f}};
  dots(canvas, rng, line, pebbles, 8.0);
  for (int i = many(canvas, 9.0, rng); i > 0; --i) {
    const double x = rng.uniform() * canvas.width(), y = H * rng.range(0.05, 0.7);
    const double radius = rng.range(0.01, 0.024);
    canvas.ellipse(x, y, radius, radius, {0.72f, 0.92f, 0.98f}, 0.6);
    canvas.ellipse(x - 0.3 * radius, y - 0.3 * radius, 0.3 * radius, 0.3 * radius, {1, 1, 1}, 0.9);
  }
}

void sunset(Canvas& canvas, Rng& rng) {
  const double H = canvas.height();
  const double horizon = H * rng.range(0.56, 0.63);
  const std::array<Sky, 3> skies = {{{{0.34f, 0.20f, 0.48f}, {1.0f, 0.60f, 0.32f}},
                                     {{0.62f, 0.26f, 0.46f}, {1.0f, 0.74f, 0.38f}},
                                     {{0.24f, 0.26f, 0.54f}, {0.99f, 0.56f, 0.44f}}}};
  const auto& sky = skies[static_cast<std::size_t>(rng.below(3))];
  canvas.gradient(vary(sky.top, rng), sky.bottom, horizon);
  for (int i = many(canvas, 4.0, rng); i > 0; --i) {
    canvas.ellipse(rng.uniform() * canvas.width(), horizon * rng.range(0.15, 0.75),
                   rng.range(0.1, 0.22), rng.range(0.008, 0.018),
                   mix(sky.bottom, {1, 0.8f, 0.8f}, 0.3), 0.75);
  }
  const double x = across(canvas, rng, 0.15, 0.85);
  sun(canvas, x, horizon - 0.03, 0.115, {1.0f, 0.90f, 0.52f});
  const auto water = mix(sky.top, sky.bottom, 0.35);
  canvas.ground(level_line(horizon), mix(water, sky.bottom, 0.4),
                mix(water, {0.1f, 0.05f, 0.2f}, 0.5));
  for (int i = 0; i < 6; ++i) {  // the sun on the water
    const double y = horizon + 0.018 + 0.032 * i, half = rng.range(0.05, 0.14);
    canvas.rectangle(x - half, y, x + half, y + 0.013, {1.0f, 0.84f, 0.50f}, 0.8);
  }
  const auto shore = hills(rng, H * rng.range(0.77, 0.81), 0.02, 0.7);
  canvas.ground(shore, vary({0.34f, 0.18f, 0.28f}, rng), {0.18f, 0.09f, 0.18f});
  tufts(canvas, rng, shore, {0.48f, 0.26f, 0.32f}, 6.0);
}

/// Rows of purple flowers that run to a yellow evening sky, with a mill.
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

}  // namespace

void draw_scene(Canvas& canvas, SceneKind kind, Rng& rng) {
  switch (kind) {
    case SceneKind::kBeach:
      return beach(canvas, rng);
    case SceneKind::kForest:
      return forest(canvas, rng);
    case SceneKind::kMountains:
      return mountains(canvas, rng);
    case SceneKind::kCity:
      return city(canvas, rng);
    case SceneKind::kNight:
      return night(canvas, rng);
    case SceneKind::kSnow:
      return snow(canvas, rng);
    case SceneKind::kDesert:
      return desert(canvas, rng);
    case SceneKind::kMeadow:
      return meadow(canvas, rng);
    case SceneKind::kLake:
      return lake(canvas, rng);
    case SceneKind::kRoom:
      return room(canvas, rng);
    case SceneKind::kSea:
      return sea(canvas, rng);
    case SceneKind::kSunset:
      return sunset(canvas, rng);
    case SceneKind::kLavender:
      return lavender(canvas, rng);
  }
}

void draw_colour(Canvas& canvas, const Rgb& colour, Rng& rng) {
  const auto base = vary(colour, rng);
  const double light = rng.range(0.03, 0.08);
  canvas.gradient(mix(base, {1.0f, 1.0f, 1.0f}, light), mix(base, {0.0f, 0.0f, 0.0f}, light),
                  canvas.height());
}

void draw_shadow(Canvas& canvas, double x, double y, double half_width) {
  canvas.ellipse(x, y, half_width, std::max(0.018, 0.12 * half_width), {0.0f, 0.0f, 0.02f}, 0.3,
                 0.02);
}

}  // namespace mos::world
