#include "mos/diffusion/vae_tiles.h"

#include <fmt/core.h>

#include <algorithm>
#include <vector>

#include "mos/base/big_blocks.h"
#include "mos/base/error.h"
#include "mos/diffusion/denoise.h"
#include "mos/diffusion/painted.h"
#include "mos/io/image.h"

namespace mos::diffusion {

using torch::Tensor;

namespace {

// Each tile has normalisations and an attention of its own, so that equal latents have other
// colours in each: with fewer positions smooth skies show the lattice, however much overlaps.
constexpr std::int64_t kFewestPositions = 16;  // of a tile, in latents
constexpr std::int64_t kOverlapShare = 4;      // of a tile overlaps,
constexpr std::int64_t kLeastOverlap = 8;  // at least these: what a convolution sees of the edge

TileSize tiles_of(std::int64_t positions) {
  return {positions, std::max(positions / kOverlapShare, kLeastOverlap)};
}

/// Where tiles begin along a side.
std::vector<std::int64_t> begins(std::int64_t length, const TileSize& size) {
  if (length <= size.tile) return {0};
  std::vector<std::int64_t> places;
  for (std::int64_t at = 0; at + size.tile < length; at += size.tile - size.overlap) {
    places.push_back(at);
  }
  places.push_back(length - size.tile);
  return places;
}

/// 1 inside, falling over `ramp` positions at the ends that have a neighbour. [length]
Tensor profile(std::int64_t length, std::int64_t ramp, bool has_before, bool has_after) {
  auto weights = torch::ones({length});
  const auto rise = (torch::arange(1, ramp + 1, torch::kFloat32)) / static_cast<double>(ramp + 1);
  if (has_before) weights.slice(0, 0, ramp).mul_(rise);
  if (has_after) weights.slice(0, length - ramp).mul_(rise.flip(0));
  return weights;
}

}  // namespace

Tensor in_tiles(const Tensor& maps, const TileSize& size,
                const std::function<Tensor(const Tensor&)>& work) {
  const auto height = maps.size(2), width = maps.size(3);
  if (height <= size.tile && width <= size.tile) return work(maps);
  Tensor sum, total;
  for (const auto top : begins(height, size)) {
    for (const auto left : begins(width, size)) {
      const auto bottom = std::min(top + size.tile, height);
      const auto right = std::min(left + size.tile, width);
      const auto done = work(maps.slice(2, top, bottom).slice(3, left, right)).to(torch::kFloat32);
      const auto scaled = [&](std::int64_t x) { return x * done.size(2) / (bottom - top); };
      if (!sum.defined()) {
        sum = torch::zeros({done.size(0), done.size(1), scaled(height), scaled(width)},
                           done.options());
        total = torch::zeros({1, 1, scaled(height), scaled(width)}, done.options());
      }
      const auto ramp = scaled(size.overlap);
      const auto weight = (profile(done.size(2), ramp, top > 0, bottom < height).view({-1, 1}) *
                           profile(done.size(3), ramp, left > 0, right < width))
                              .to(done.device());
      const auto place = [&](const Tensor& whole) {
        return whole.slice(2, scaled(top), scaled(bottom)).slice(3, scaled(left), scaled(right));
      };
      place(sum).add_(done * weight);
      place(total).add_(weight);
    }
  }
  return sum / total;
}

void check_tile(const nn::AutoencoderKL& vae, std::int64_t tile) {
  auto network = vae;
  const auto factor = network->config().downscale();
  if (tile < kFewestPositions * factor || tile % factor != 0) {
    throw Error(
        ErrorKind::kUsage,
        fmt::format("a VAE tile of {} pixels is not possible: expected a multiple of {}, {} at "
                    "least, since smaller ones show in the picture",
                    tile, factor, kFewestPositions * factor));
  }
}

void check_tile(const nn::AutoencoderKL& vae, std::int64_t tile, std::int64_t height,
                std::int64_t width) {
  check_tile(vae, tile);
  if (tile > std::max(height, width)) {
    throw Error(ErrorKind::kUsage,
                fmt::format("a VAE tile of {} pixels is larger than the canvas of {} x {}: leave "
                            "tiling out, or take smaller tiles",
                            tile, height, width));
  }
}

Tensor decode_latents_tiled(const nn::AutoencoderKL& vae, const Tensor& latents,
                            std::int64_t tile) {
  const torch::NoGradGuard no_grad;
  const BigBlocksGoBack big_blocks_go_back;
  auto decoder = vae;
  const auto factor = decoder->config().downscale();
  check_tile(vae, tile);
  const auto size = tiles_of(tile / factor);
  const auto weight = decoder->parameters().front();
  const auto compute = weight.options().dtype(nn::working_dtype(weight));
  const auto scaled = (latents / decoder->config().scaling_factor).to(compute);
  std::vector<Tensor> pictures;
  for (std::int64_t i = 0; i < scaled.size(0); ++i) {
    const auto picture = in_tiles(scaled.slice(0, i, i + 1), size, [&](const Tensor& part) {
      return decoder->decode(part.contiguous());
    });
    check_painted(picture);
    pictures.push_back(io::to_uint8_hwc(picture));
  }
  return torch::stack(pictures);
}

Tensor encode_pictures_tiled(const nn::AutoencoderKL& vae, const Tensor& pictures,
                             std::int64_t tile) {
  const torch::NoGradGuard no_grad;
  auto encoder = vae;
  const auto factor = encoder->config().downscale();
  check_tile(vae, tile);
  // Tiles and overlaps in whole latents, so that every tile's latents fall on places of the whole.
  const auto size = tiles_of(tile / factor);
  const auto grid =
      torch::zeros({pictures.size(0), 1, pictures.size(2) / factor, pictures.size(3) / factor});
  const auto rows = torch::arange(grid.size(2), torch::kFloat32).view({1, 1, -1, 1});
  const auto columns = torch::arange(grid.size(3), torch::kFloat32).view({1, 1, 1, -1});
  const auto places = torch::cat({(grid + rows), (grid + columns)}, 1);
  return in_tiles(places, size, [&](const Tensor& part) {
    const auto top = part[0][0][0][0].item<double>() * static_cast<double>(factor);
    const auto left = part[0][1][0][0].item<double>() * static_cast<double>(factor);
    const auto y = static_cast<std::int64_t>(top), x = static_cast<std::int64_t>(left);
    return encode_pictures(
        vae,
        pictures.slice(2, y, y + part.size(2) * factor).slice(3, x, x + part.size(3) * factor));
  });
}

}  // namespace mos::diffusion
