#include "mos/tune/latents.h"

#include <fmt/core.h>

#include <string>
#include <vector>

#include "mos/base/error.h"
#include "mos/base/text.h"
#include "mos/io/image.h"
#include "mos/tune/draws.h"
#include "mos/tune/framing.h"

namespace mos::tune {

using torch::Tensor;

namespace {

/// [size,size] brought to [1,side,side] by nearest neighbours.
Tensor at_latent_size(const Tensor& mask, std::int64_t side) {
  return torch::upsample_nearest2d(mask.unsqueeze(0).unsqueeze(0), {side, side}).squeeze(0);
}

}  // namespace

void check_shapes(const ConceptDataset& dataset, const PictureOptions& options, std::int64_t size,
                  std::int64_t cell) {
  std::vector<std::string> thin;
  for (const auto& picture : dataset.pictures) {
    const auto height = picture.pixels.size(0), width = picture.pixels.size(1);
    const auto side = thinnest_side(height, width, size, options);
    if (side >= cell) continue;
    thin.push_back(fmt::format("{} ({}x{} becomes {} thin)", picture.name, width, height, side));
  }
  if (thin.empty()) return;
  throw Error(ErrorKind::kMismatch,
              fmt::format("on a canvas of {} pixels these pictures are thinner than the {} pixels "
                          "that the model sees as one; crop them: {}",
                          size, cell, listed(thin)));
}

LatentSource::LatentSource(const ConceptDataset& dataset, nn::AutoencoderKL vae,
                           const PictureOptions& options, std::int64_t size, std::uint64_t seed)
    : dataset_(dataset), vae_(std::move(vae)), options_(options), size_(size), seed_(seed) {
  check_shapes(dataset, options, size, vae_->config().downscale());
}

std::int64_t LatentSource::variants(std::int64_t picture) const {
  const auto& pixels = dataset_.pictures[static_cast<std::size_t>(picture)].pixels;
  return is_random(pixels.size(0), pixels.size(1), options_) ? options_.variants : 1;
}

EncodedPicture LatentSource::get(std::int64_t picture, std::int64_t variant) {
  if (variants(picture) == 0) return encode(picture, variant);
  const std::pair key(picture, variant);
  auto found = kept_.find(key);
  if (found == kept_.end()) found = kept_.emplace(key, encode(picture, variant)).first;
  return found->second;
}

EncodedPicture LatentSource::encode(std::int64_t picture, std::int64_t variant) {
  constexpr std::uint64_t kManyVariants = std::uint64_t{1} << 32;
  torch::NoGradGuard no_grad;
  const auto& source = dataset_.pictures[static_cast<std::size_t>(picture)];
  auto generator = generator_for(
      seed_, Draw::kFraming,
      static_cast<std::uint64_t>(picture) * kManyVariants + static_cast<std::uint64_t>(variant));
  const auto framing =
      draw_framing(source.pixels.size(0), source.pixels.size(1), size_, options_, generator);
  const auto framed = apply_framing(framing, source.pixels, source.mask, size_);

  const auto like = vae_->parameters().front().options();
  const auto posterior = vae_->encode(framed.pixels.unsqueeze(0).to(like));
  const double scale = vae_->config().scaling_factor;
  EncodedPicture encoded;
  encoded.mean = posterior.mean[0].to(torch::kCPU, torch::kFloat32) * scale;
  encoded.deviation = posterior.std()[0].to(torch::kCPU, torch::kFloat32) * scale;
  const auto side = size_ / vae_->config().downscale();
  encoded.picture_mask = at_latent_size(framed.picture_mask, side);
  encoded.subject_mask = framed.subject_mask.defined() ? at_latent_size(framed.subject_mask, side)
                                                       : torch::zeros({1, side, side});
  encoded.has_subject = encoded.subject_mask.any().item<bool>();
  return encoded;
}

}  // namespace mos::tune
