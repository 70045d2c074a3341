#pragma once

#include <torch/types.h>

#include <array>
#include <cstdint>
#include <filesystem>

#include "mos/base/json.h"

/// From a picture of any size to what an image tower sees.
namespace mos::eval {

enum class Resampling { kArea, kBilinear, kBicubic, kLanczos };

using Channels = std::array<double, 3>;

/// How a tower wants its pictures. The defaults, but for the size, are CLIP's own.
struct PictureInput {
  std::int64_t side = 224;      ///< Of what the tower sees, a square.
  std::int64_t resized_to = 0;  ///< Of the shorter side before the middle is cut out; 0: `side`.
  bool cuts_middle = true;      ///< Otherwise the whole picture becomes a square.
  Resampling resampling = Resampling::kBicubic;
  Channels mean = {0.48145466, 0.4578275, 0.40821073};  // openai/CLIP: of its training pictures
  Channels deviation = {0.26862954, 0.26130258, 0.27577711};
};

/// CLIP's own, for a tower that sees `side` pixels.
PictureInput clip_input(std::int64_t side);

/// What DreamBooth's evaluation gives DINO: bicubic to 256 for 224 seen, the middle, ImageNet's
/// mean and deviation.
PictureInput dino_input(std::int64_t side);

/// `input` with what transformers' `preprocessor_config.json` in `folder` says, if it is there.
/// Throws kFormat for values that are impossible or not known here, and for another size than
/// `input` has: the tower sees no other.
PictureInput input_of_folder(const std::filesystem::path& folder, PictureInput input);

/// uint8 [H,W,3] -> float32 [3,side,side]. Pixels are bytes between the steps, as Pillow has them,
/// unless areas are averaged. Throws kUsage for pictures of which one side is more than 50 times
/// the other.
torch::Tensor tower_pixels(const torch::Tensor& picture, const PictureInput& input);

}  // namespace mos::eval
