#pragma once

#include <torch/types.h>

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <vector>

#include "mos/nn/vae.h"
#include "mos/tune/dataset.h"
#include "mos/tune/framing.h"
#include "mos/tune/options.h"

namespace mos::tune {

/// One framing of one picture as the U-Net's training sees it.
struct EncodedPicture {
  torch::Tensor mean;          ///< [C,h,w] float32, scaled latents.
  torch::Tensor deviation;     ///< [C,h,w] float32: of the VAE's posterior around it.
  torch::Tensor picture_mask;  ///< [1,h,w] float32.
  torch::Tensor subject_mask;  ///< [1,h,w] float32, zero without a mask.
  bool has_subject = false;    ///< Whether the mask selects anything at this size.
  Zoom zoom = Zoom::kNone;
};

/// Which framing of which picture.
struct PictureVariant {
  std::int64_t picture = 0;
  std::int64_t variant = 0;

  auto operator<=>(const PictureVariant&) const = default;
};

/// Calls work(0) … work(count − 1), perhaps several at a time.
using ForEach =
    std::function<void(std::size_t count, const std::function<void(std::size_t)>& work)>;

/// Throws mos::Error(kMismatch) naming the pictures that can become thinner than `cell` pixels, the
/// side of one latent position, on a canvas of size × size: nothing of them would be learned.
void check_shapes(const ConceptDataset& dataset, const PictureOptions& options, std::int64_t size,
                  std::int64_t cell);

/// Frames and encodes pictures when they are first asked for, and keeps what it encoded. What comes
/// back depends on seed, picture and variant alone. For one thread at a time: get() fills what is
/// kept, though its `for_each` may encode in several. The dataset must outlive it and keep its
/// pictures; what get() gives is shared with what is kept, so nobody may change it in place.
class LatentSource {
 public:
  /// `size`: canvas side in pixels, a multiple of the VAE's downscale. `dataset` is not copied.
  /// Throws as check_shapes does.
  LatentSource(const ConceptDataset& dataset, nn::AutoencoderKL vae, const PictureOptions& options,
               std::int64_t size, std::uint64_t seed);

  /// Framings of one picture that are kept; 0: every variant number is a framing of its own that
  /// is not kept.
  std::int64_t variants(std::int64_t picture) const;

  /// One for each of `wanted`, in its order; those that are not kept are encoded by `for_each`.
  std::vector<EncodedPicture> get(std::span<const PictureVariant> wanted, const ForEach& for_each);

  /// [C,h,w] of what get() gives.
  std::vector<std::int64_t> latent_shape() const;

 private:
  EncodedPicture encode(const PictureVariant& which) const;

  const ConceptDataset& dataset_;
  mutable nn::AutoencoderKL vae_;  ///< Encoding changes nothing in it.
  PictureOptions options_;
  std::int64_t size_;
  std::uint64_t seed_;
  std::map<PictureVariant, EncodedPicture> kept_;
};

}  // namespace mos::tune
