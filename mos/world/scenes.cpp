#include "mos/world/scenes.h"

#include <algorithm>
#include <array>

#include "mos/world/landscapes.h"
#include "mos/world/scene_parts.h"

namespace mos::world {
namespace {

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
  // A far row first, pale and without windows.
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
    // Wider in front than at the wall, all from one vanishing point.
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
  // Water has the colours of its sky.
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
