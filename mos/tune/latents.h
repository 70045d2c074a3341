#pragma once

#include <torch/types.h>

#include <cstdint>
#include <map>
#include <utility>

#include "mos/nn/vae.h"
#include "mos/tune/dataset.h"
#include "mos/tune/options.h"

namespace mos::tune {

/// One framing of one picture as the U-Net's training sees it.
struct EncodedPicture {
  torch::Tensor mean;          ///< [C,h,w] float32, scaled latents.
  torch::Tensor deviation;     ///< [C,h,w] float32: of the VAE's posterior around it.
  torch::Tensor picture_mask;  ///< [1,h,w] float32.
  torch::Tensor subject_mask;  ///< [1,h,w] float32, zero without a mask.
  bool has_subject = false;    ///< Whether the mask selects anything at this size.
};

/// Throws mos::Error(kMismatch) naming the pictures that can become thinner than `cell` pixels, the
/// side of one latent position, on a canvas of size × size: nothing of them would be learned.
void check_shapes(const ConceptDataset& dataset, const PictureOptions& options, std::int64_t size,
                  std::int64_t cell);

/// Frames and encodes pictures when they are first asked for, and keeps what it encoded. What comes
/// back depends on seed, picture and variant alone.
class LatentSource {
 public:
  /// `size`: canvas side in pixels, a multiple of the VAE's downscale. `dataset` is not copied.
  /// Throws as check_shapes does.
  LatentSource(const ConceptDataset& dataset, nn::AutoencoderKL vae, const PictureOptions& options,
               std::int64_t size, std::uint64_t seed);

  /// Framings of one picture that are kept; 0: every variant number is a framing of its own that
  /// is not kept.
  std::int64_t variants(std::int64_t picture) const;

  EncodedPicture get(std::int64_t picture, std::int64_t variant);

 private:
  EncodedPicture encode(std::int64_t picture, std::int64_t variant);

  const ConceptDataset& dataset_;
  nn::AutoencoderKL vae_;
  PictureOptions options_;
  std::int64_t size_;
  std::uint64_t seed_;
  std::map<std::pair<std::int64_t, std::int64_t>, EncodedPicture> kept_;
};

}  // namespace mos::tune
