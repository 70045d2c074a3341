#include "mos/region/picture_start.h"

#include <ATen/Functions.h>
#include <fmt/core.h>
#include <fmt/ranges.h>
#include <torch/nn/functional/padding.h>

#include <cmath>

#include "mos/base/error.h"
#include "mos/base/text.h"
#include "mos/diffusion/vae_tiles.h"
#include "mos/io/image.h"
#include "mos/region/aspect.h"
#include "mos/region/new_scene.h"
#include "mos/region/region_mask.h"

namespace mos::region {

using torch::Tensor;

namespace {

bool has_size(const Tensor& picture, Canvas canvas) {
  return picture.size(0) == canvas.height && picture.size(1) == canvas.width;
}

Tensor read_init(const PictureOptions& options, Canvas canvas) {
  auto pixels = io::to_rgb(io::read_image(options.init).pixels);
  check_aspect(pixels, canvas, "the picture " + options.init);
  return has_size(pixels, canvas) ? pixels
                                  : io::resize_lanczos(pixels, canvas.height, canvas.width);
}

/// The picture with its edges repeated outwards, and a mask of what is new.
LoadedStart grown(const PictureOptions& options, Canvas canvas) {
  const auto& by = options.grow;
  const Canvas inner{canvas.height - by[1] - by[3], canvas.width - by[0] - by[2]};
  const auto pixels = read_init(options, inner);
  namespace F = torch::nn::functional;
  const auto padded =
      F::pad(pixels.permute({2, 0, 1}).unsqueeze(0).to(torch::kFloat32),
             F::PadFuncOptions({by[0], by[2], by[1], by[3]}).mode(torch::kReplicate));
  auto mask = torch::ones({canvas.height, canvas.width});
  mask.slice(0, by[1], canvas.height - by[3]).slice(1, by[0], canvas.width - by[2]).zero_();
  return {padded[0].permute({1, 2, 0}).to(torch::kUInt8).contiguous(), mask};
}

/// As the VAE takes it: [1,3,H,W] in −1…1.
Tensor as_input(const diffusion::Model& model, const Tensor& pixels) {
  return io::to_float_chw({pixels, {}}).unsqueeze(0).to(model.device());
}

Tensor encoded(const diffusion::Model& model, const Tensor& picture,
               const PictureOptions& options) {
  return options.vae_tile > 0
             ? diffusion::encode_pictures_tiled(model.vae, picture, options.vae_tile)
             : diffusion::encode_pictures(model.vae, picture);
}

}  // namespace

std::optional<Canvas> canvas_of_start(const PictureOptions& options) {
  if (options.init.empty()) return std::nullopt;
  const auto pixels = io::read_image(options.init).pixels;
  Canvas canvas{pixels.size(0), pixels.size(1)};
  if (!options.grow.empty()) {
    canvas.height += options.grow[1] + options.grow[3];
    canvas.width += options.grow[0] + options.grow[2];
  }
  return canvas;
}

std::size_t find_region(const Scene& scene, const std::string& name) {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < scene.regions.size(); ++i) {
    names.push_back(name_of_region(scene, i));
    if (!scene.regions[i].name.empty() && names.back() == name) return i;
  }
  const auto number = number_in<std::int64_t>(name);
  if (number && *number >= 1 && *number <= static_cast<std::int64_t>(scene.regions.size())) {
    return static_cast<std::size_t>(*number - 1);
  }
  throw Error(ErrorKind::kUsage,
              scene.regions.empty()
                  ? fmt::format("there is no region \"{}\": the scene has none", name)
                  : fmt::format("there is no region \"{}\", expected one of {}", name,
                                fmt::join(names, ", ")));
}

LoadedStart load_start(const PictureOptions& options, const Scene& scene, Canvas canvas) {
  if (options.init.empty()) return {};
  auto start =
      options.grow.empty() ? LoadedStart{read_init(options, canvas), {}} : grown(options, canvas);
  if (!options.mask.empty()) {
    start.mask = read_mask(options.mask, canvas, "the mask " + options.mask);
  }
  if (!options.redo_region.empty()) {
    const auto region = region_masks(scene, canvas)[find_region(scene, options.redo_region)];
    start.mask = feathered_inside(region, options.mask_feather);
  } else if (start.mask.defined()) {
    start.mask = feathered(start.mask, options.mask_feather);
  }
  return start;
}

diffusion::PictureStart start_of(const diffusion::Model& model, const LoadedStart& start,
                                 const PictureOptions& options) {
  if (!start.pixels.defined()) return {};
  const torch::NoGradGuard no_grad;
  diffusion::PictureStart result;
  result.strength = strength_of(options);
  const auto picture = as_input(model, start.pixels);
  result.latents = encoded(model, picture, options);
  const auto height = result.latents.size(2), width = result.latents.size(3);
  if (start.mask.defined()) {
    const auto pixels = start.mask.view({1, 1, start.mask.size(0), start.mask.size(1)});
    result.mask = std::get<0>(at::adaptive_max_pool2d(pixels, {height, width}));
  }
  if (!model.paints_into_pictures()) return result;
  const auto mask = result.mask.defined() ? result.mask : torch::ones({1, 1, height, width});
  auto hidden = picture;  // grey, which is 0, where the mask hides it
  if (start.mask.defined()) hidden = picture * (start.mask < 0.5).to(picture.options());
  const auto latents = encoded(model, hidden, options);
  result.beside = torch::cat({mask.to(latents.device()), latents}, 1);
  return result;
}

Tensor nothing_beside(const diffusion::Model& model, std::int64_t height, std::int64_t width) {
  const auto factor = model.downscale();
  const auto grey = torch::zeros({1, 3, height * factor, width * factor},
                                 torch::TensorOptions().device(model.device()));
  const auto latents = diffusion::encode_pictures(model.vae, grey);
  return torch::cat({torch::ones({1, 1, height, width}, latents.options()), latents}, 1);
}

Tensor laid_over(const LoadedStart& start, const Tensor& painted) {
  if (!start.mask.defined()) return painted;
  const auto share = start.mask.unsqueeze(2);  // [H,W,1]
  const auto mixed =
      share * painted.to(torch::kFloat32) + (1.0 - share) * start.pixels.to(torch::kFloat32);
  return torch::round(mixed).to(torch::kUInt8);
}

}  // namespace mos::region
