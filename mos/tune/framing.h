#pragma once

#include <ATen/core/Generator.h>
#include <torch/types.h>

#include <cstdint>

#include "mos/tune/options.h"

/// How a picture of any shape gets onto the square canvas that the model is tuned on: a random
/// crop, scale and place on black, with a mask of the area that the picture covers.
namespace mos::tune {

/// How near a picture shows its subject; prompts say so (zoom_words in captions.h).
enum class Zoom { kNone, kFar, kNear };

/// One way to place a picture.
struct Framing {
  struct Rectangle {
    std::int64_t top = 0, left = 0, height = 0, width = 0;
  };
  Rectangle source;  ///< The part of the picture that is used, in its own pixels.
  Rectangle target;  ///< Where it lands on the canvas.
  bool mirrored = false;
  Zoom zoom = Zoom::kNone;
};

/// Draws a framing for a picture of height × width on a canvas of size × size.
///
///   character  `HumanResizeCropFinalV3` of the authors: with crop_probability a tall picture
///              loses a random part of its foot, any other is cropped to a square; what is left
///              fills the canvas along its long side, at a random place.
///   object     `ResizeFillMaskNew`: with crop_probability cropped to a square, then scaled by a
///              random factor of scale_min … scale_max, at a random place.
///   fit        the whole picture in the middle of the canvas; draws nothing but the mirroring.
///   zoom       Custom Diffusion's: two times in three scaled by 1/3 … 1, but from 0.6 on shown
///              whole instead, below at a random place and Zoom::kFar; else by 1.2 … 1.4 and cut
///              at a random place, Zoom::kNear.
Framing draw_framing(std::int64_t height, std::int64_t width, std::int64_t size,
                     const PictureOptions& options, at::Generator& generator);

/// Whether draw_framing can return different framings for a height × width picture.
bool is_random(std::int64_t height, std::int64_t width, const PictureOptions& options);

/// The fewest pixels that the shorter side of a height × width picture can get on the canvas.
std::int64_t thinnest_side(std::int64_t height, std::int64_t width, std::int64_t size,
                           const PictureOptions& options);

/// A picture and its masks on the canvas.
struct FramedPicture {
  torch::Tensor pixels;        ///< [3,size,size] float32 in -1…1; black outside the picture.
  torch::Tensor picture_mask;  ///< [size,size] float32, 1 where the picture is.
  torch::Tensor subject_mask;  ///< [size,size] float32 in 0…1; undefined without a mask.
};

/// pixels uint8 [H,W,3], mask uint8 [H,W] or undefined.
FramedPicture apply_framing(const Framing& framing, const torch::Tensor& pixels,
                            const torch::Tensor& mask, std::int64_t size);

}  // namespace mos::tune
