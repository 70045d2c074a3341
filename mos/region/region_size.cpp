#include "mos/region/region_size.h"

#include <fmt/core.h>

#include <algorithm>

#include "mos/base/error.h"
#include "mos/base/text.h"
#include "mos/region/region_mask.h"

namespace mos::region {
namespace {

/// The level of the U-Net with the largest features that read a text; 0 has the latents' size.
std::size_t finest_attention(const nn::UNetConfig& config) {
  const auto levels = config.block_out_channels.size();
  std::size_t level = 0;
  while (level + 1 < levels && !config.down_has_attention[level] &&
         !config.up_has_attention[levels - 1 - level]) {
    ++level;
  }
  return level;
}

/// The features of that level.
struct FinestFeatures {
  FinestFeatures(const diffusion::Model& model, Canvas canvas)
      : cell(model.downscale()), height(canvas.height / cell), width(canvas.width / cell) {
    const auto level = finest_attention(model.unet->config());
    for (std::size_t i = 0; i < level; ++i) {
      height = (height + 1) / 2;
      width = (width + 1) / 2;
      cell *= 2;
    }
  }

  std::int64_t cell;  ///< Pixels of a position.
  std::int64_t height, width;
};

}  // namespace

void check_boxes(const diffusion::Model& model, const Scene& scene) {
  const auto canvas = scene.canvas.value();
  const auto [cell, height, width] = FinestFeatures(model, canvas);
  std::vector<std::string> small;
  for (std::size_t i = 0; i < scene.regions.size(); ++i) {
    const auto& [top, left, bottom, right] = scene.regions[i].box;
    if (!scene.regions[i].is_hard_box()) continue;  // shapes weigh by area
    if (!on_features(scene.regions[i].box, height, width).empty()) continue;
    const auto h = static_cast<double>(canvas.height), w = static_cast<double>(canvas.width);
    small.push_back(fmt::format("{} \"{}\" with the box [{:g}, {:g}, {:g}, {:g}]", i + 1,
                                scene.regions[i].prompt, top * h, left * w, bottom * h, right * w));
  }
  if (small.empty()) return;
  throw Error(
      ErrorKind::kUsage,
      fmt::format("a box must cover a position of the finest layer, which is {} x {} pixels "
                  "between multiples of {}; too small for anything to be painted: region {}",
                  cell, cell, cell, listed(small)));
}

std::vector<std::string> faint_regions(const diffusion::Model& model, const Scene& scene) {
  constexpr double kFaint = 0.25;  // a line of a quarter of a position is as good as not there
  std::vector<std::string> sentences;
  const auto is_shape = [](const Region& region) {
    return !region.is_hard_box() && !region.background;
  };
  if (std::ranges::none_of(scene.regions, is_shape)) return sentences;
  const auto canvas = scene.canvas.value();
  const auto [cell, height, width] = FinestFeatures(model, canvas);
  const auto masks = region_masks(scene, canvas);
  for (std::size_t i = 0; i < masks.size(); ++i) {
    const auto& region = scene.regions[i];
    if (!is_shape(region)) continue;
    const double most = mask_on_features(masks[i], height, width).max().item<double>();
    if (most >= kFaint) continue;
    sentences.push_back(fmt::format(
        "region {} \"{}\" will hardly be seen: it covers at most {:.2g} % of any position of the "
        "finest layer, which is {} x {} pixels; make it larger{}",
        i + 1, region.prompt, 100.0 * most, cell, cell,
        region.feather > 0.0 ? ", or its feather smaller" : ""));
  }
  return sentences;
}

}  // namespace mos::region
