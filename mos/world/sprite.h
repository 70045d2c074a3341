#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "mos/world/canvas.h"

namespace mos::world {

/// A cut-out subject: RGBA floats 0…1 with premultiplied alpha, no empty margin.
struct Sprite {
  std::int64_t height = 0;
  std::int64_t width = 0;
  std::vector<float> pixels;  ///< [height, width, 4]

  const float* at(std::int64_t y, std::int64_t x) const {
    return &pixels[static_cast<std::size_t>(4 * (y * width + x))];
  }
  float* at(std::int64_t y, std::int64_t x) {
    return &pixels[static_cast<std::size_t>(4 * (y * width + x))];
  }
};

/// Reads a picture with alpha, crops it to alpha > 8/255 and shrinks it so that no side is longer
/// than `longest` pixels. Throws kIo or kFormat; also kFormat when nothing of it is opaque.
Sprite load_sprite(const std::filesystem::path& path, std::int64_t longest);

/// The file of `name` in `folder`/`style`, .webp or .png. Throws kIo naming both when none is
/// there.
std::filesystem::path sprite_file(const std::filesystem::path& folder, const std::string& style,
                                  const std::string& name);

/// Every pixel is the mean of the area it covers.
Sprite resize(const Sprite& sprite, std::int64_t height, std::int64_t width);

Sprite mirror(const Sprite& sprite);

/// Turned counter-clockwise about its middle; the result is as large as the turned corners need.
Sprite rotate(const Sprite& sprite, double degrees);

/// Where a subject stands. Lengths are shares of the picture's shorter side, as on a Canvas.
struct Placement {
  double x = 0.5;       ///< Middle.
  double feet = 0.9;    ///< Lower edge.
  double height = 0.7;  ///< Made smaller where max_width asks for it.
  double max_width = 0.92;
  double degrees = 0.0;
  bool flip = false;
};

/// Pixels, half open.
struct Box {
  std::int64_t top = 0;
  std::int64_t left = 0;
  std::int64_t bottom = 0;
  std::int64_t right = 0;
};

/// Rows and columns of a picture.
using PictureSize = std::array<std::int64_t, 2>;

/// The sprite as large as `placement` wants it on a picture, and its box there, which is inside the
/// picture whatever `placement` says.
struct Fitted {
  Sprite sprite;
  Box box;
};
Fitted fit(const Sprite& sprite, const Placement& placement, const PictureSize& picture);

/// Lays a fitted sprite over the canvas and writes `label` into `labels` [rows, columns] where it
/// covers at least half of a pixel.
void paste(Canvas& canvas, const Fitted& fitted, std::vector<std::uint8_t>& labels,
           std::uint8_t label);

}  // namespace mos::world
