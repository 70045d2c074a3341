#include "mos/tune/framing.h"

#include <algorithm>
#include <cmath>

#include "mos/base/random.h"
#include "mos/io/image.h"
#include "mos/tune/draws.h"

namespace mos::tune {

using torch::Tensor;
using Rectangle = Framing::Rectangle;

namespace {

Rectangle square_crop(std::int64_t height, std::int64_t width, at::Generator& generator) {
  const auto side = std::min(height, width);
  return {.top = uniform_int(generator, 0, height - side),
          .left = uniform_int(generator, 0, width - side),
          .height = side,
          .width = side};
}

/// The largest size of the source's shape within `side` pixels.
Rectangle fitted(const Rectangle& source, double side) {
  const double scale = side / static_cast<double>(std::max(source.height, source.width));
  const auto scaled = [&](std::int64_t length) {
    return std::max<std::int64_t>(1, std::llround(static_cast<double>(length) * scale));
  };
  return {.height = scaled(source.height), .width = scaled(source.width)};
}

/// [H,W] or [H,W,C]
Tensor cut(const Tensor& image, const Rectangle& area) {
  return image.narrow(0, area.top, area.height).narrow(1, area.left, area.width).contiguous();
}

constexpr double kSmallestZoom = 1.0 / 3.0;

/// Source: Custom Diffusion, diffusers_data_pipeline.py.
Framing draw_zoom(const Rectangle& whole, std::int64_t size, at::Generator& generator) {
  constexpr double kOftenFar = 2.0 / 3.0, kWholeFrom = 0.6, kNearest = 1.2, kFarthestIn = 1.4;
  const bool out = happens(generator, kOftenFar);
  const double share = uniform(generator);
  double scale = out ? kSmallestZoom + (1.0 - kSmallestZoom) * share
                     : kNearest + (kFarthestIn - kNearest) * share;
  const auto zoom = !out ? Zoom::kNear : scale < kWholeFrom ? Zoom::kFar : Zoom::kNone;
  if (zoom == Zoom::kNone) scale = 1.0;
  Framing framing{.source = whole, .zoom = zoom};
  framing.target = fitted(whole, scale * static_cast<double>(size));
  const auto cut_to_canvas = [&](std::int64_t& from, std::int64_t& length, std::int64_t& shown) {
    if (shown <= size) return;
    const auto kept = std::max<std::int64_t>(1, length * size / shown);
    from = uniform_int(generator, 0, length - kept);
    length = kept;
    shown = size;
  };
  cut_to_canvas(framing.source.top, framing.source.height, framing.target.height);
  cut_to_canvas(framing.source.left, framing.source.width, framing.target.width);
  framing.target.top = uniform_int(generator, 0, size - framing.target.height);
  framing.target.left = uniform_int(generator, 0, size - framing.target.width);
  return framing;
}

}  // namespace

Framing draw_framing(std::int64_t height, std::int64_t width, std::int64_t size,
                     const PictureOptions& options, at::Generator& generator) {
  Framing framing{.source = {.height = height, .width = width}};
  if (options.framing == FramingKind::kZoom) {
    framing = draw_zoom(framing.source, size, generator);
    framing.mirrored = happens(generator, options.flip_probability);
    return framing;
  }
  const bool fit = options.framing == FramingKind::kFit;
  if (!fit && happens(generator, options.crop_probability)) {
    // A person who stands keeps the head: the crop begins at the top.
    if (options.framing == FramingKind::kCharacter && height > width) {
      framing.source.height = uniform_int(generator, width, height);
    } else {
      framing.source = square_crop(height, width, generator);
    }
  }
  double side = static_cast<double>(size);
  if (options.framing == FramingKind::kObject) {
    side *= options.scale_min + (options.scale_max - options.scale_min) * uniform(generator);
  }
  framing.target = fitted(framing.source, side);
  const auto free_rows = size - framing.target.height, free_columns = size - framing.target.width;
  // Anywhere on the canvas, so that the concept is not learnt with its place.
  framing.target.top = fit ? free_rows / 2 : uniform_int(generator, 0, free_rows);
  framing.target.left = fit ? free_columns / 2 : uniform_int(generator, 0, free_columns);
  framing.mirrored = happens(generator, options.flip_probability);
  return framing;
}

bool is_random(std::int64_t height, std::int64_t width, const PictureOptions& options) {
  if (options.flip_probability > 0 && options.flip_probability < 1) return true;
  // Centred, never cropped: always the same.
  if (options.framing == FramingKind::kFit) return false;
  const bool scales =
      options.framing == FramingKind::kObject || options.framing == FramingKind::kZoom;
  return scales || height != width;
}

std::int64_t thinnest_side(std::int64_t height, std::int64_t width, std::int64_t size,
                           const PictureOptions& options) {
  const bool is_object = options.framing == FramingKind::kObject;
  const bool zooms = options.framing == FramingKind::kZoom;
  const auto side = static_cast<double>(size) * (is_object ? options.scale_min
                                                 : zooms   ? kSmallestZoom
                                                           : 1.0);
  const bool square_only =
      (is_object || (options.framing == FramingKind::kCharacter && height <= width)) &&
      options.crop_probability >= 1.0;
  const auto target = fitted({.height = height, .width = square_only ? height : width}, side);
  return std::min(target.height, target.width);
}

FramedPicture apply_framing(const Framing& framing, const Tensor& pixels, const Tensor& mask,
                            std::int64_t size) {
  const auto& source = framing.source;
  const auto& target = framing.target;
  const auto place = [&](const Tensor& image, const Tensor& canvas) {
    canvas.narrow(0, target.top, target.height)
        .narrow(1, target.left, target.width)
        .copy_(framing.mirrored ? image.flip({1}) : image);
  };
  // Black, as the authors' transform leaves it; the picture's mask takes the border out of the
  // loss.
  auto canvas = torch::zeros({size, size, 3}, torch::kUInt8);
  place(io::resize_bilinear(cut(pixels, source), target.height, target.width), canvas);

  FramedPicture framed;
  framed.pixels = io::to_float_chw({canvas, {}});
  // Where there is picture at all.
  framed.picture_mask = torch::zeros({size, size});
  place(torch::ones({target.height, target.width}), framed.picture_mask);
  if (mask.defined()) {
    framed.subject_mask = torch::zeros({size, size});
    place(io::resize_bilinear(cut(mask, source).to(torch::kFloat32) / 255.0, target.height,
                              target.width),
          framed.subject_mask);
  }
  return framed;
}

}  // namespace mos::tune
