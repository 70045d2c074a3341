#include "mos/world/sprite.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "mos/base/error.h"
#include "mos/io/image.h"

namespace mos::world {
namespace {

Sprite empty_sprite(std::int64_t height, std::int64_t width) {
  return {height, width, std::vector<float>(static_cast<std::size_t>(4 * height * width))};
}

struct Tap {
  std::int64_t first = 0;
  std::vector<float> weights;
};

/// For each of `target` places the shares of the `source` places that it covers.
std::vector<Tap> area_taps(std::int64_t source, std::int64_t target) {
  std::vector<Tap> taps(static_cast<std::size_t>(target));
  const double step = static_cast<double>(source) / static_cast<double>(target);
  for (std::int64_t i = 0; i < target; ++i) {
    const double from = static_cast<double>(i) * step;
    const double to = std::min(static_cast<double>(source), from + step);
    auto& tap = taps[static_cast<std::size_t>(i)];
    tap.first = std::min(source - 1, static_cast<std::int64_t>(from));
    for (auto k = tap.first; k < source && (static_cast<double>(k) < to || k == tap.first); ++k) {
      const double covered =
          std::min(to, static_cast<double>(k + 1)) - std::max(from, static_cast<double>(k));
      tap.weights.push_back(static_cast<float>(covered / step));
    }
  }
  return taps;
}

Box opaque_box(const torch::TensorAccessor<std::uint8_t, 3>& pixels) {
  // Traces of smoothing around the artwork would shift what stands on its feet.
  constexpr std::uint8_t kVisible = 8;
  Box box{pixels.size(0), pixels.size(1), 0, 0};
  for (std::int64_t y = 0; y < pixels.size(0); ++y) {
    for (std::int64_t x = 0; x < pixels.size(1); ++x) {
      if (pixels[y][x][3] <= kVisible) continue;
      box = {std::min(box.top, y), std::min(box.left, x), std::max(box.bottom, y + 1),
             std::max(box.right, x + 1)};
    }
  }
  return box;
}

}  // namespace

std::filesystem::path sprite_file(const std::filesystem::path& folder, const std::string& style,
                                  const std::string& name) {
  for (const char* extension : {".webp", ".png"}) {
    const auto file = folder / style / (name + extension);
    if (std::filesystem::exists(file)) return file;
  }
  throw Error(ErrorKind::kIo,
              fmt::format("the sprite \"{}\" of style \"{}\" is not in {}; make the sprites with "
                          "\"node tools/sprites.mjs <cache folder>\"",
                          name, style, folder.string()));
}

Sprite load_sprite(const std::filesystem::path& path, std::int64_t longest) {
  const auto image = io::read_image(path).pixels.contiguous();
  if (image.size(2) != 4) {
    throw Error(ErrorKind::kFormat,
                fmt::format("the sprite {} has {} channels, but a cut-out needs RGB and alpha",
                            path.string(), image.size(2)));
  }
  const auto pixels = image.accessor<std::uint8_t, 3>();
  const auto box = opaque_box(pixels);
  if (box.bottom <= box.top) {
    throw Error(ErrorKind::kFormat,
                fmt::format("the sprite {} is transparent everywhere", path.string()));
  }
  auto sprite = empty_sprite(box.bottom - box.top, box.right - box.left);
  for (std::int64_t y = 0; y < sprite.height; ++y) {
    for (std::int64_t x = 0; x < sprite.width; ++x) {
      const auto source = pixels[box.top + y][box.left + x];
      const float alpha = static_cast<float>(source[3]) / 255.0f;
      float* target = sprite.at(y, x);
      // Multiplied by alpha at once: resized otherwise, the colour of what is transparent would
      // shine at the edges.
      for (int c = 0; c < 3; ++c) target[c] = static_cast<float>(source[c]) / 255.0f * alpha;
      target[3] = alpha;
    }
  }
  const double shrink =
      static_cast<double>(longest) / static_cast<double>(std::max(sprite.height, sprite.width));
  if (shrink >= 1.0) return sprite;
  const auto shorter = [shrink](std::int64_t length) {
    return std::max<std::int64_t>(1, std::llround(shrink * static_cast<double>(length)));
  };
  return resize(sprite, shorter(sprite.height), shorter(sprite.width));
}

Sprite resize(const Sprite& sprite, std::int64_t height, std::int64_t width) {
  const auto columns = area_taps(sprite.width, width);
  const auto rows = area_taps(sprite.height, height);
  // Columns first, then rows: two passes instead of a sum over areas.
  auto narrow = empty_sprite(sprite.height, width);
  for (std::int64_t y = 0; y < sprite.height; ++y) {
    for (std::int64_t x = 0; x < width; ++x) {
      const auto& tap = columns[static_cast<std::size_t>(x)];
      const float* source = sprite.at(y, tap.first);
      float* target = narrow.at(y, x);
      for (const float weight : tap.weights) {
        for (int c = 0; c < 4; ++c) target[c] += weight * source[c];
        source += 4;
      }
    }
  }
  auto result = empty_sprite(height, width);
  for (std::int64_t y = 0; y < height; ++y) {
    const auto& tap = rows[static_cast<std::size_t>(y)];
    for (std::size_t k = 0; k < tap.weights.size(); ++k) {
      const float weight = tap.weights[k];
      const float* source = narrow.at(tap.first + static_cast<std::int64_t>(k), 0);
      float* target = result.at(y, 0);
      for (std::int64_t i = 0; i < 4 * width; ++i) target[i] += weight * source[i];
    }
  }
  return result;
}

Sprite mirror(const Sprite& sprite) {
  auto result = empty_sprite(sprite.height, sprite.width);
  for (std::int64_t y = 0; y < sprite.height; ++y) {
    for (std::int64_t x = 0; x < sprite.width; ++x) {
      std::copy_n(sprite.at(y, sprite.width - 1 - x), 4, result.at(y, x));
    }
  }
  return result;
}

Sprite rotate(const Sprite& sprite, double degrees) {
  const double angle = degrees * std::numbers::pi / 180.0;
  const double cosine = std::cos(angle);
  const double sine = std::sin(angle);
  const auto h = static_cast<double>(sprite.height);
  const auto w = static_cast<double>(sprite.width);
  const auto length = [](double value) { return static_cast<std::int64_t>(std::ceil(value)); };
  auto result = empty_sprite(length(h * std::abs(cosine) + w * std::abs(sine)),
                             length(w * std::abs(cosine) + h * std::abs(sine)));
  for (std::int64_t y = 0; y < result.height; ++y) {
    for (std::int64_t x = 0; x < result.width; ++x) {
      const double v = static_cast<double>(y) + 0.5 - 0.5 * static_cast<double>(result.height);
      const double u = static_cast<double>(x) + 0.5 - 0.5 * static_cast<double>(result.width);
      const double source_x = cosine * u - sine * v + 0.5 * w - 0.5;
      const double source_y = sine * u + cosine * v + 0.5 * h - 0.5;
      const auto x0 = static_cast<std::int64_t>(std::floor(source_x));
      const auto y0 = static_cast<std::int64_t>(std::floor(source_y));
      for (std::int64_t dy = 0; dy < 2; ++dy) {
        for (std::int64_t dx = 0; dx < 2; ++dx) {
          const auto sx = x0 + dx;
          const auto sy = y0 + dy;
          if (sx < 0 || sy < 0 || sx >= sprite.width || sy >= sprite.height) continue;
          const auto weight =
              static_cast<float>((1.0 - std::abs(source_x - static_cast<double>(sx))) *
                                 (1.0 - std::abs(source_y - static_cast<double>(sy))));
          for (int c = 0; c < 4; ++c) result.at(y, x)[c] += weight * sprite.at(sy, sx)[c];
        }
      }
    }
  }
  return result;
}

Fitted fit(const Sprite& sprite, const Placement& placement, const PictureSize& picture) {
  const auto [rows, columns] = picture;
  const auto unit = static_cast<double>(std::min(rows, columns));
  const double aspect = static_cast<double>(sprite.width) / static_cast<double>(sprite.height);
  const double height = std::min(placement.height, placement.max_width / aspect);
  const auto pixels = [unit](double share, std::int64_t most) {
    return std::clamp<std::int64_t>(std::llround(share * unit), 1, most);
  };
  Fitted fitted{resize(sprite, pixels(height, rows), pixels(height * aspect, columns)), {}};
  if (placement.flip) fitted.sprite = mirror(fitted.sprite);
  if (placement.degrees != 0.0) {
    fitted.sprite = rotate(fitted.sprite, placement.degrees);
    if (fitted.sprite.height > rows || fitted.sprite.width > columns) {
      fitted.sprite = resize(fitted.sprite, std::min(rows, fitted.sprite.height),
                             std::min(columns, fitted.sprite.width));
    }
  }
  const auto top = std::clamp<std::int64_t>(
      std::llround(placement.feet * unit) - fitted.sprite.height, 0, rows - fitted.sprite.height);
  const auto left = std::clamp<std::int64_t>(
      std::llround(placement.x * unit - 0.5 * static_cast<double>(fitted.sprite.width)), 0,
      columns - fitted.sprite.width);
  fitted.box = {top, left, top + fitted.sprite.height, left + fitted.sprite.width};
  return fitted;
}

void paste(Canvas& canvas, const Fitted& fitted, std::vector<std::uint8_t>& labels,
           std::uint8_t label) {
  const auto& [sprite, box] = fitted;
  for (std::int64_t y = 0; y < sprite.height; ++y) {
    const float* source = sprite.at(y, 0);
    float* target = canvas.pixel(box.top + y, box.left);
    std::uint8_t* row =
        &labels[static_cast<std::size_t>((box.top + y) * canvas.columns() + box.left)];
    for (std::int64_t x = 0; x < sprite.width; ++x, source += 4, target += 3) {
      const float rest = 1.0f - source[3];
      for (int c = 0; c < 3; ++c) target[c] = source[c] + rest * target[c];
      // A pixel is of who covers most of it.
      if (source[3] >= 0.5f) row[x] = label;
    }
  }
}

}  // namespace mos::world
