#pragma once

#include <torch/types.h>

#include <cstdint>
#include <functional>

#include "mos/nn/vae.h"

/// The VAE on canvases too large for it at once: overlapping tiles, blended where they overlap.
namespace mos::diffusion {

/// Tiles of a map: square, `overlap` positions of each also belong to its neighbour.
struct TileSize {
  std::int64_t tile = 64, overlap = 16;
};

/// `work` on every tile of maps [B,C,h,w], put together again: [B,C',f·h,f·w] with whatever factor
/// f and channels `work` has. The weight of a tile falls straight to 0 over its overlap, so that
/// neighbours pass into each other without an edge. Maps no larger than a tile are done at once.
torch::Tensor in_tiles(const torch::Tensor& maps, const TileSize& size,
                       const std::function<torch::Tensor(const torch::Tensor&)>& work);

/// decode_latents and encode_pictures of `denoise.h` in tiles of `tile` pixels, of which a quarter
/// overlaps, 8 latents at least; what is no larger than a tile is done at once. Throws as
/// check_tile(vae, tile), and kMismatch as those.
torch::Tensor decode_latents_tiled(const nn::AutoencoderKL& vae, const torch::Tensor& latents,
                                   std::int64_t tile);
torch::Tensor encode_pictures_tiled(const nn::AutoencoderKL& vae, const torch::Tensor& pictures,
                                    std::int64_t tile);

/// Throws mos::Error(kUsage) for a tile that is no multiple of the VAE's downscale, or smaller than
/// 16 of them (whose lattice shows).
void check_tile(const nn::AutoencoderKL& vae, std::int64_t tile);
/// The same, and for one that is larger than the finished canvas of height × width pixels.
void check_tile(const nn::AutoencoderKL& vae, std::int64_t tile, std::int64_t height,
                std::int64_t width);

}  // namespace mos::diffusion
