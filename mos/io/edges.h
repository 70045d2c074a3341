#pragma once

#include <torch/types.h>

#include <cstdint>

namespace mos::io {

struct EdgeOptions {
  double blur = 1.4;  ///< Deviation of the Gaussian before it, in pixels; 0: none.
  /// Gradients (of values 0…1, per pixel) that begin an edge, and that go on with one: low <= high.
  double high = 0.2, low = 0.1;
  /// Side in pixels of what is worked on at a time: of memory alone, no edge depends on it.
  std::int64_t tile = 512;
};

/// The edges of a picture as a condition for sketch adapters: white lines, one pixel wide, on black
/// (Canny 1986: Gaussian, Sobel gradients, only the strongest across an edge, hysteresis; of the
/// channels the one that changes most, as OpenCV does).
/// `picture` uint8 [H,W,C] -> uint8 [H,W,1]. Takes a few bytes a pixel beside it.
torch::Tensor edge_picture(const torch::Tensor& picture, const EdgeOptions& options = {});

}  // namespace mos::io
