#include "mos/region/region_mask.h"

#include <ATen/Functions.h>
#include <fmt/core.h>
#include <torch/nn/functional/padding.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <string>
#include <system_error>

#include "mos/base/error.h"
#include "mos/base/log.h"
#include "mos/base/naming.h"
#include "mos/base/text.h"
#include "mos/io/image.h"
#include "mos/region/aspect.h"
#include "mos/region/drawing.h"

namespace mos::region {

using torch::Tensor;

namespace {

Tensor mask_of_box(const Box& box, Canvas canvas) {
  const auto place = [](double share, std::int64_t size) {
    return static_cast<std::int64_t>(std::llround(share * static_cast<double>(size)));
  };
  auto mask = torch::zeros({canvas.height, canvas.width});
  mask.slice(0, place(box.top, canvas.height), place(box.bottom, canvas.height))
      .slice(1, place(box.left, canvas.width), place(box.right, canvas.width))
      .fill_(1.0);
  return mask;
}

/// The region at `index`, for people.
std::string called(const Region& region, std::size_t index) {
  return fmt::format("region {} \"{}\"", index + 1, region.prompt);
}

/// A path of a scene.
void require_there(const std::string& path, const std::string& what) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  if (fs::exists(path, ignored)) return;
  throw Error(ErrorKind::kIo,
              fmt::format("{} is not there: a path in a scene's file begins at that file's folder, "
                          "or at the working folder, {}, as any other does",
                          what, fs::current_path(ignored).string()));
}

Tensor mask_of(const Region& region, Canvas canvas, const std::string& where) {
  if (!region.mask.empty()) {
    const auto what = fmt::format("the mask {} of {}", region.mask, where);
    require_there(region.mask, what);
    return naming(what, [&] { return read_mask(region.mask, canvas, what); });
  }
  if (!region.polygon.empty()) return mask_of_polygon(region.polygon, canvas);
  if (!region.drawing.empty()) return mask_of_drawing(region.drawing, canvas);
  return mask_of_box(region.box, canvas);
}

/// The mask of the region at `index`, which is not the background.
Tensor mask_at(const Scene& scene, std::size_t index, Canvas canvas) {
  const auto& region = scene.regions[index];
  const auto where = called(region, index);
  auto mask = feathered(mask_of(region, canvas, where), region.feather);
  if (mask.max().item<double>() <= 0.0) {
    throw Error(ErrorKind::kUsage,
                where + " covers no pixel of the canvas; make its shape larger, or leave it out");
  }
  return mask;
}

/// What is left of the canvas by masks that come to `cover`.
Tensor left_by(const Tensor& cover) { return (1.0 - cover).clamp(0.0, 1.0); }

std::string joined(const std::string& root, const std::string& prompt) {
  if (root.empty() || trimmed(prompt).empty()) return root.empty() ? prompt : root;
  return root + ", " + prompt;
}

}  // namespace

Tensor read_mask(const std::string& path, Canvas canvas, const std::string& what) {
  const auto pixels = io::read_image(path).pixels.to(torch::kFloat32) / 255.0;
  const auto channels = pixels.size(2);
  auto mask = pixels.slice(2, 0, channels == 4 ? 3 : channels).mean(2);
  const auto is_black = [](const Tensor& one) { return one.max().item<double>() <= 0.0; };
  if (channels == 4) {
    const auto alpha = pixels.select(2, 3);
    // A shape drawn in black on nothing: editors keep masks so.
    const bool is_drawn = is_black(mask) && !is_black(alpha) && alpha.min().item<double>() < 1.0;
    if (is_drawn) log::info(what + " is black: what is opaque in it is where it is");
    mask = is_drawn ? alpha : mask * alpha;
  }
  check_aspect(mask, canvas, what);
  if (is_black(mask)) {
    throw Error(
        ErrorKind::kUsage,
        what + " is black everywhere, so that it covers nothing: make white what it shall cover");
  }
  return io::resize_area(mask.contiguous(), canvas.height, canvas.width);
}

Tensor feathered(const Tensor& mask, double feather) {
  const auto radius = static_cast<std::int64_t>(std::llround(feather / 2.0));
  if (radius == 0) return mask;
  namespace F = torch::nn::functional;
  auto soft = mask.view({1, 1, mask.size(0), mask.size(1)});
  for (int pass = 0; pass < 2; ++pass) {
    for (const bool rows : {true, false}) {
      const auto r = rows ? radius : 0, c = rows ? 0 : radius;
      const auto padded = F::pad(soft, F::PadFuncOptions({c, c, r, r}).mode(torch::kReplicate));
      soft = at::avg_pool2d(padded, {2 * r + 1, 2 * c + 1}, {1, 1});
    }
  }
  return soft[0][0];
}

Tensor feathered_inside(const Tensor& mask, double feather) {
  // Half of the mask is left at its edge, which becomes none; what is flat stays as it is.
  return torch::minimum(2.0 * feathered(mask, feather) - mask, mask).clamp_min(0.0);
}

std::vector<Tensor> region_masks(const Scene& scene, Canvas canvas) {
  std::vector<Tensor> masks;
  auto cover = torch::zeros({canvas.height, canvas.width});
  for (std::size_t i = 0; i < scene.regions.size(); ++i) {
    masks.emplace_back();
    if (scene.regions[i].background) continue;
    masks.back() = mask_at(scene, i, canvas);
    cover += masks.back();
  }
  for (auto& mask : masks) {
    if (!mask.defined()) mask = left_by(cover);
  }
  return masks;
}

std::vector<RegionShape> region_shapes(const Scene& scene, Canvas canvas) {
  std::vector<RegionShape> shapes(scene.regions.size());
  std::vector<Box> boxes;
  auto cover = torch::zeros({canvas.height, canvas.width});
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    const auto& region = scene.regions[i];
    if (region.background) continue;
    if (region.is_hard_box()) {
      shapes[i].box = region.box;
      boxes.push_back(region.box);
    } else {
      shapes[i].mask = mask_at(scene, i, canvas);
      cover += shapes[i].mask;
    }
  }
  for (auto& shape : shapes) {
    if (shape.is_anywhere()) shape = {.mask = left_by(cover), .without = boxes};
  }
  return shapes;
}

void check_files_of(const Scene& scene) {
  for (std::size_t i = 0; i < scene.regions.size(); ++i) {
    const auto& region = scene.regions[i];
    if (region.mask.empty()) continue;
    require_there(region.mask, fmt::format("the mask {} of {}", region.mask, called(region, i)));
  }
  for (const auto& condition : scene.conditions) {
    require_there(condition.adapter, "the adapter " + condition.adapter);
    require_there(condition.picture, fmt::format("the picture {} of the adapter {}",
                                                 condition.picture, condition.adapter));
  }
}

bool is_nothing(const Tensor& mask) {
  constexpr double kLeastShare = 0.5 / 255.0;  // of what differs by all levels, half of one
  return mask.max().item<double>() < kLeastShare;
}

void check_background(const Scene& scene, Canvas canvas) {
  const auto found = std::ranges::find_if(scene.regions, &Region::background);
  if (found == scene.regions.end()) return;
  const auto index = static_cast<std::size_t>(found - scene.regions.begin());
  if (!is_nothing(region_masks(scene, canvas)[index])) return;
  throw Error(ErrorKind::kUsage,
              fmt::format("region {} \"{}\" is the background and covers no pixel of the canvas: "
                          "the other regions leave nothing; make one of them smaller, or leave it "
                          "out",
                          index + 1, found->prompt));
}

Tensor mask_on_features(const Tensor& mask, std::int64_t height, std::int64_t width) {
  return at::adaptive_avg_pool2d(mask.view({1, 1, mask.size(0), mask.size(1)}),
                                 {height, width})[0][0];
}

Scene on_larger_canvas(Scene scene, double scale) {
  for (auto& region : scene.regions) region.feather *= scale;
  return scene;
}

Scene with_root_prompts(Scene scene) {
  const auto root = std::move(scene.root_prompt);
  const auto negative = std::move(scene.root_negative_prompt);
  scene.root_prompt.clear();
  scene.root_negative_prompt.clear();
  scene.prompt = joined(root, scene.prompt);
  scene.negative_prompt = joined(negative, scene.negative_prompt);
  for (auto& region : scene.regions) {
    if (trimmed(region.prompt).empty()) {
      region.prompt = scene.prompt;
      if (region.negative_prompt.empty()) {
        region.negative_prompt = scene.negative_prompt;
        continue;
      }
    } else {
      region.prompt = joined(root, region.prompt);
    }
    region.negative_prompt = joined(negative, region.negative_prompt);
  }
  return scene;
}

FeatureBox box_around(const Tensor& covered) {
  const auto positions = covered.nonzero().to(torch::kCPU);
  if (positions.size(0) == 0) return {};
  const auto least = std::get<0>(positions.min(0)), most = std::get<0>(positions.max(0));
  const auto at = [](const Tensor& x, std::int64_t i) { return x[i].item<std::int64_t>(); };
  return {at(least, 0), at(least, 1), at(most, 0) + 1, at(most, 1) + 1};
}

}  // namespace mos::region
