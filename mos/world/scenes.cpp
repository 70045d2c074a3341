#include "mos/world/scenes.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <tuple>

namespace mos::world {
namespace {

/// One colour of a scene, a little different in every picture.
Rgb vary(const Rgb& colour, Rng& rng) {
  const auto light = static_cast<float>(rng.range(0.94, 1.06));
  Rgb varied = colour;
  for (auto& channel : varied) {
    channel = std::min(1.0f, channel * light + static_cast<float>(rng.range(-0.015, 0.015)));
  }
  return varied;
}

/// A hilly line around y = level: two waves with random phases.
auto hills(Rng& rng, double level, double amplitude, double frequency) {
  const double turn = 2.0 * std::numbers::pi;
  const double phase_1 = rng.range(0.0, turn);
  const double phase_2 = rng.range(0.0, turn);
  const double stretch = frequency * rng.range(0.85, 1.15);
  return [=](double x) {
    return level + amplitude * (0.7 * std::sin(turn * stretch * x + phase_1) +
                                0.3 * std::sin(turn * 2.1 * stretch * x + phase_2));
  };
}

auto level_line(double level) {
  return [level](double) { return level; };
}

/// A jagged line of `peaks` peaks between y = level and y = level - height.
auto peaks_line(Rng& rng, double level, double height, int peaks) {
  const double shift = rng.uniform();
  const double lower = rng.range(0.5, 0.8);
  return [=](double x) {
    const double position = x * peaks + shift;
    const auto which = static_cast<int>(std::floor(position));
    const double share = position - which;
    const double tall = which % 2 == 0 ? 1.0 : lower;
    return level - height * tall * (1.0 - std::abs(2.0 * share - 1.0));
  };
}

void clouds(Canvas& canvas, Rng& rng, double lowest) {
  const Rgb white{0.99f, 0.99f, 1.0f};
  for (int i = rng.below(3); i > 0; --i) {
    const double x = rng.range(0.05, 0.95);
    const double y = rng.range(0.07, lowest);
    const double width = rng.range(0.07, 0.12);
    canvas.ellipse(x, y, width, width * 0.35, white, 0.9, 0.02);
    canvas.ellipse(x + width * 0.5, y - width * 0.15, width * 0.6, width * 0.4, white, 0.9, 0.02);
  }
}

void pine(Canvas& canvas, double x, double bottom, double height, const Rgb& colour) {
  canvas.rectangle(x - 0.08 * height, bottom - 0.15 * height, x + 0.08 * height, bottom,
                   {0.36f, 0.25f, 0.18f});
  canvas.cone(x, bottom - height, bottom - 0.12 * height, 0.34 * height, colour);
}

void beach(Canvas& canvas, Rng& rng) {
  const double horizon = rng.range(0.38, 0.5);
  const double shore = horizon + rng.range(0.14, 0.2);
  canvas.gradient(vary({0.42f, 0.70f, 0.96f}, rng), {0.78f, 0.90f, 0.99f}, horizon);
  canvas.ellipse(rng.range(0.1, 0.9), rng.range(0.1, 0.2), 0.075, 0.075, {1.0f, 0.90f, 0.42f});
  clouds(canvas, rng, 0.25);
  canvas.ground(level_line(horizon), vary({0.11f, 0.45f, 0.75f}, rng), {0.15f, 0.62f, 0.85f});
  canvas.ground(hills(rng, shore, 0.015, 0.8), {0.97f, 0.91f, 0.72f},
                vary({0.93f, 0.80f, 0.52f}, rng));
}

void forest(Canvas& canvas, Rng& rng) {
  const double edge = rng.range(0.6, 0.68);
  canvas.gradient(vary({0.36f, 0.60f, 0.46f}, rng), {0.22f, 0.44f, 0.30f}, edge);
  const Rgb far = vary({0.15f, 0.36f, 0.22f}, rng);
  const Rgb near = vary({0.09f, 0.27f, 0.16f}, rng);
  for (const auto& [count, colour, height] : {std::tuple{7, far, 0.62}, {6, near, 0.5}}) {
    const double shift = rng.range(-0.06, 0.06);
    for (int i = 0; i < count; ++i) {
      const double x = (i + 0.5) / count + shift + rng.range(-0.02, 0.02);
      pine(canvas, x, edge + 0.03, height * rng.range(0.8, 1.1), colour);
    }
  }
  canvas.ground(hills(rng, edge, 0.012, 1.0), vary({0.25f, 0.45f, 0.22f}, rng),
                {0.19f, 0.36f, 0.18f});
}

void mountains(Canvas& canvas, Rng& rng) {
  const double foot = rng.range(0.6, 0.68);
  canvas.gradient(vary({0.55f, 0.76f, 0.95f}, rng), {0.86f, 0.93f, 0.98f}, foot);
  clouds(canvas, rng, 0.15);
  const double height = rng.range(0.38, 0.46);
  const auto line = peaks_line(rng, foot, height, 2);
  canvas.ground(line, {0.96f, 0.97f, 1.0f}, {0.96f, 0.97f, 1.0f});
  const double snow = foot - 0.52 * height;
  const auto rock = [&line, snow](double x) {
    return std::max(line(x), snow + 0.25 * (line(x) - snow));
  };
  canvas.ground(rock, vary({0.47f, 0.47f, 0.58f}, rng), {0.38f, 0.39f, 0.50f});
  canvas.ground(hills(rng, foot, 0.02, 0.9), vary({0.40f, 0.58f, 0.36f}, rng),
                {0.31f, 0.48f, 0.29f});
}

void city(Canvas& canvas, Rng& rng) {
  const double street = rng.range(0.68, 0.74);
  canvas.gradient(vary({0.62f, 0.76f, 0.90f}, rng), {0.90f, 0.90f, 0.88f}, street);
  const Rgb walls[] = {{0.60f, 0.55f, 0.56f}, {0.46f, 0.52f, 0.62f}, {0.70f, 0.62f, 0.54f}};
  double left = rng.range(-0.12, 0.0);
  for (int i = rng.below(3); left < 1.0; ++i) {
    const double width = rng.range(0.17, 0.24);
    const double top = rng.range(0.1, 0.42);
    const auto wall = vary(walls[i % 3], rng);
    canvas.rectangle(left, top, left + width - 0.012, street, wall);
    const auto window = mix(wall, {1.0f, 0.93f, 0.66f}, 0.62);
    for (double y = top + 0.05; y < street - 0.1; y += 0.12) {
      for (int column = 0; column < 2; ++column) {
        const double x = left + width * (0.17 + 0.38 * column);
        canvas.rectangle(x, y, x + width * 0.24, y + 0.06, window);
      }
    }
    left += width;
  }
  canvas.ground(level_line(street), {0.62f, 0.61f, 0.60f}, {0.62f, 0.61f, 0.60f});
  canvas.ground(level_line(street + 0.05), vary({0.36f, 0.37f, 0.40f}, rng), {0.28f, 0.29f, 0.32f});
}

void night(Canvas& canvas, Rng& rng) {
  canvas.gradient(vary({0.05f, 0.06f, 0.20f}, rng), {0.15f, 0.16f, 0.40f}, 1.0);
  for (int i = 0; i < 9; ++i) {
    const double radius = rng.range(0.009, 0.014);
    canvas.ellipse(rng.uniform(), rng.range(0.02, 0.55), radius, radius, {0.95f, 0.95f, 0.85f}, 0.9,
                   0.01);
  }
  const double x = rng.range(0.12, 0.88);
  const double y = rng.range(0.11, 0.2);
  canvas.ellipse(x, y, 0.16, 0.16, {0.95f, 0.92f, 0.75f}, 0.12, 0.12);
  canvas.ellipse(x, y, 0.085, 0.085, {0.98f, 0.95f, 0.78f});
  canvas.ground(hills(rng, rng.range(0.66, 0.74), 0.03, 0.9), vary({0.07f, 0.12f, 0.19f}, rng),
                {0.04f, 0.07f, 0.12f});
}

void snow(Canvas& canvas, Rng& rng) {
  const double field = rng.range(0.52, 0.6);
  canvas.gradient(vary({0.72f, 0.82f, 0.92f}, rng), {0.90f, 0.94f, 0.98f}, field + 0.05);
  const auto green = vary({0.22f, 0.42f, 0.38f}, rng);
  for (int i = 3 + rng.below(2); i > 0; --i) {
    const double x = rng.uniform();
    const double height = rng.range(0.24, 0.36);
    pine(canvas, x, field + 0.03, height, green);
    canvas.cone(x, field + 0.03 - height, field + 0.03 - 0.62 * height, 0.125 * height,
                {0.96f, 0.98f, 1.0f});
  }
  canvas.ground(hills(rng, field, 0.02, 0.8), {0.95f, 0.97f, 1.0f},
                vary({0.86f, 0.90f, 0.96f}, rng));
}

void desert(Canvas& canvas, Rng& rng) {
  const double horizon = rng.range(0.46, 0.55);
  canvas.gradient(vary({0.98f, 0.74f, 0.45f}, rng), {0.99f, 0.89f, 0.70f}, horizon + 0.05);
  canvas.ellipse(rng.range(0.12, 0.88), rng.range(0.12, 0.24), 0.09, 0.09, {1.0f, 0.97f, 0.82f});
  canvas.ground(hills(rng, horizon, 0.04, 0.8), vary({0.90f, 0.66f, 0.40f}, rng),
                {0.86f, 0.60f, 0.34f});
  canvas.ground(hills(rng, horizon + rng.range(0.14, 0.2), 0.03, 0.6),
                vary({0.84f, 0.56f, 0.29f}, rng), {0.74f, 0.46f, 0.22f});
}

void meadow(Canvas& canvas, Rng& rng) {
  const double horizon = rng.range(0.5, 0.6);
  canvas.gradient(vary({0.45f, 0.72f, 0.97f}, rng), {0.82f, 0.93f, 1.0f}, horizon + 0.06);
  clouds(canvas, rng, 0.28);
  canvas.ground(hills(rng, horizon, 0.035, 0.7), vary({0.62f, 0.84f, 0.44f}, rng),
                {0.50f, 0.76f, 0.36f});
  canvas.ground(hills(rng, horizon + rng.range(0.1, 0.15), 0.025, 0.9),
                vary({0.48f, 0.77f, 0.33f}, rng), {0.33f, 0.62f, 0.24f});
}

void lake(Canvas& canvas, Rng& rng) {
  const double far_shore = rng.range(0.4, 0.48);
  canvas.gradient(vary({0.58f, 0.79f, 0.94f}, rng), {0.87f, 0.94f, 0.97f}, far_shore);
  canvas.ground(hills(rng, far_shore - 0.1, 0.04, 1.0), vary({0.33f, 0.50f, 0.42f}, rng),
                {0.30f, 0.48f, 0.38f});
  canvas.ground(level_line(far_shore), {0.45f, 0.68f, 0.82f}, vary({0.18f, 0.47f, 0.66f}, rng));
  canvas.ground(hills(rng, rng.range(0.76, 0.82), 0.015, 0.7), vary({0.48f, 0.60f, 0.30f}, rng),
                {0.38f, 0.50f, 0.24f});
}

void room(Canvas& canvas, Rng& rng) {
  const double floor = rng.range(0.68, 0.74);
  canvas.gradient(vary({0.93f, 0.87f, 0.78f}, rng), {0.88f, 0.80f, 0.70f}, floor);
  const double x = rng.range(0.12, 0.66);
  const double y = rng.range(0.1, 0.16);
  canvas.rectangle(x, y, x + 0.26, y + 0.3, {0.99f, 0.99f, 0.97f});
  canvas.rectangle(x + 0.025, y + 0.025, x + 0.12, y + 0.275, {0.60f, 0.80f, 0.95f});
  canvas.rectangle(x + 0.14, y + 0.025, x + 0.235, y + 0.275, {0.60f, 0.80f, 0.95f});
  canvas.ground(level_line(floor), vary({0.66f, 0.45f, 0.29f}, rng), {0.55f, 0.36f, 0.22f});
  canvas.ellipse(rng.range(0.35, 0.65), 0.9, 0.4, 0.075, vary({0.46f, 0.42f, 0.62f}, rng), 0.9);
}

void sea(Canvas& canvas, Rng& rng) {
  canvas.gradient(vary({0.22f, 0.62f, 0.83f}, rng), {0.04f, 0.24f, 0.48f}, 1.0);
  for (int i = 0; i < 7; ++i) {
    const double radius = rng.range(0.012, 0.026);
    canvas.ellipse(rng.uniform(), rng.range(0.05, 0.7), radius, radius, {0.66f, 0.88f, 0.97f},
                   0.55);
  }
  const double bed = rng.range(0.82, 0.88);
  for (int i = 3; i > 0; --i) {
    canvas.cone(rng.uniform(), bed - rng.range(0.15, 0.26), bed + 0.03, 0.03,
                vary({0.12f, 0.50f, 0.38f}, rng));
  }
  canvas.ground(hills(rng, bed, 0.02, 1.0), vary({0.80f, 0.72f, 0.52f}, rng),
                {0.68f, 0.60f, 0.42f});
}

void sunset(Canvas& canvas, Rng& rng) {
  const double horizon = rng.range(0.6, 0.68);
  canvas.gradient(vary({0.33f, 0.22f, 0.46f}, rng), {0.98f, 0.55f, 0.30f}, horizon + 0.03);
  const double x = rng.range(0.15, 0.85);
  canvas.ellipse(x, horizon - 0.02, 0.2, 0.2, {1.0f, 0.80f, 0.45f}, 0.25, 0.15);
  canvas.ellipse(x, horizon - 0.02, 0.11, 0.11, {1.0f, 0.86f, 0.50f});
  canvas.ground(hills(rng, horizon, 0.025, 0.8), vary({0.30f, 0.16f, 0.27f}, rng),
                {0.20f, 0.10f, 0.20f});
}

/// Rows of purple flowers that run to a yellow evening sky, with a mill.
void lavender(Canvas& canvas, Rng& rng) {
  const double horizon = rng.range(0.4, 0.46);
  canvas.gradient(vary({0.98f, 0.86f, 0.55f}, rng), {0.99f, 0.95f, 0.80f}, horizon);
  const double mill = rng.range(0.15, 0.85);
  canvas.cone(mill, horizon - 0.32, horizon + 0.02, 0.10, {0.87f, 0.60f, 0.46f});
  canvas.cone(mill, horizon - 0.32, horizon - 0.2, 0.07, {0.55f, 0.20f, 0.22f});
  const auto purple = vary({0.55f, 0.36f, 0.76f}, rng);
  const auto green = vary({0.44f, 0.55f, 0.32f}, rng);
  const double vanishing = rng.range(0.35, 0.65);
  const double shift = rng.uniform();
  for (std::int64_t y = 0; y < canvas.size(); ++y) {
    const double depth = (static_cast<double>(y) + 0.5) / static_cast<double>(canvas.size());
    if (depth < horizon) continue;
    const double scale = (depth - horizon) / (1.0 - horizon) + 0.08;
    for (std::int64_t x = 0; x < canvas.size(); ++x) {
      const double across =
          (static_cast<double>(x) / static_cast<double>(canvas.size()) - vanishing);
      const double wave = std::sin(2.0 * std::numbers::pi * (3.2 * across / scale + shift));
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
  canvas.gradient(mix(base, {1.0f, 1.0f, 1.0f}, light), mix(base, {0.0f, 0.0f, 0.0f}, light), 1.0);
}

void draw_shadow(Canvas& canvas, double x, double y, double half_width) {
  canvas.ellipse(x, y, half_width, std::max(0.018, 0.16 * half_width), {0.0f, 0.0f, 0.02f}, 0.28,
                 0.03);
}

}  // namespace mos::world
