#pragma once

#include <torch/types.h>

#include <optional>
#include <string>

#include "mos/diffusion/denoise.h"
#include "mos/diffusion/model.h"
#include "mos/region/picture_options.h"
#include "mos/region/region.h"

/// The picture that painting begins with, in pixels and as the network reads it.
namespace mos::region {

struct LoadedStart {
  torch::Tensor pixels;  ///< uint8 [H,W,3], of the canvas's size; undefined: none.
  torch::Tensor mask;    ///< float32 [H,W] in 0…1, 1 is painted; undefined: all is painted.
};

/// Size of the canvas that the options' picture asks for, or nothing without one.
std::optional<Canvas> canvas_of_start(const PictureOptions& options);

/// Reads picture and mask for a canvas. A picture of another size with the same aspect is resized
/// (Lanczos, masks by area). The edge of a region is softened inside of it, so that the rest stays.
/// Throws kIo and kFormat for files; kUsage for another aspect, for a
/// mask of nothing, for a region that `scene` does not have.
LoadedStart load_start(const PictureOptions& options, const Scene& scene, Canvas canvas);

/// The regions' number that `name` means: a name of the scene, else a number from 1.
/// Throws kUsage with the names that there are.
std::size_t find_region(const Scene& scene, const std::string& name);

/// What denoise() begins with. A latent position is painted as far as its most painted pixel.
diffusion::PictureStart start_of(const diffusion::Model& model, const LoadedStart& start,
                                 const PictureOptions& options);

/// What an inpainting U-Net reads where there is no picture: all is painted.
torch::Tensor nothing_beside(const diffusion::Model& model, std::int64_t height,
                             std::int64_t width);

/// `painted` uint8 [B,H,W,3] over the picture: where the mask is 0, the picture's very bytes.
torch::Tensor laid_over(const LoadedStart& start, const torch::Tensor& painted);

}  // namespace mos::region
