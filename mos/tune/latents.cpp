#include "mos/tune/latents.h"

#include <fmt/core.h>

#include <string>
#include <utility>
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

/// [1,h,w] without its outermost positions, which the VAE mixes with what is beside the picture; as
/// it is where nothing would be left. Source: Custom Diffusion.
Tensor without_edge(const Tensor& mask) {
  const auto outside = torch::constant_pad_nd(1.0 - mask.unsqueeze(0), {1, 1, 1, 1}, 1.0);
  const auto inner = 1.0 - torch::max_pool2d(outside, 3, 1)[0];
  return inner.any().item<bool>() ? inner : mask;
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

std::vector<std::int64_t> LatentSource::latent_shape() const {
  const auto side = size_ / vae_->config().downscale();
  return {vae_->config().latent_channels, side, side};
}

std::vector<EncodedPicture> LatentSource::get(std::span<const PictureVariant> wanted,
                                              const ForEach& for_each) {
  std::map<PictureVariant, EncodedPicture> found;
  std::vector<std::pair<const PictureVariant, EncodedPicture>*> missing;
  for (const auto& which : wanted) {
    const auto kept = kept_.find(which);
    const auto [place, is_new] =
        found.emplace(which, kept == kept_.end() ? EncodedPicture() : kept->second);
    if (is_new && kept == kept_.end()) missing.push_back(&*place);
  }
  // Only this runs side by side: the tables are changed before and behind it.
  for_each(missing.size(), [&](std::size_t i) { missing[i]->second = encode(missing[i]->first); });
  for (const auto* entry : missing) {
    // Without a cache each variant is asked for once.
    if (variants(entry->first.picture) > 0) kept_.insert(*entry);
  }
  std::vector<EncodedPicture> pictures;
  for (const auto& which : wanted) pictures.push_back(found.at(which));
  return pictures;
}

EncodedPicture LatentSource::encode(const PictureVariant& which) const {
  constexpr std::uint64_t kManyVariants = std::uint64_t{1} << 32;
  torch::NoGradGuard no_grad;
  const auto& source = dataset_.pictures[static_cast<std::size_t>(which.picture)];
  const auto index = static_cast<std::uint64_t>(which.picture) * kManyVariants +
                     static_cast<std::uint64_t>(which.variant);
  // Of the picture and its variant alone, so it does not matter who encodes it, when, or in which
  // run.
  auto generator = generator_for(seed_, Draw::kFraming, index);
  const auto framing =
      draw_framing(source.pixels.size(0), source.pixels.size(1), size_, options_, generator);
  const auto framed = apply_framing(framing, source.pixels, source.mask, size_);

  const auto like = vae_->parameters().front().options();
  // One picture at a time: the same bytes for any batch, and memory for one.
  const auto posterior = vae_->encode(framed.pixels.unsqueeze(0).to(like));
  const double scale = vae_->config().scaling_factor;
  EncodedPicture encoded;
  encoded.mean = posterior.mean[0].to(torch::kCPU, torch::kFloat32) * scale;
  // Mean and deviation are kept, and each step draws its own sample, as if it had been encoded
  // then.
  encoded.deviation = posterior.std()[0].to(torch::kCPU, torch::kFloat32) * scale;
  const auto side = size_ / vae_->config().downscale();
  encoded.picture_mask = at_latent_size(framed.picture_mask, side);
  encoded.zoom = framing.zoom;
  if (framing.zoom == Zoom::kFar) encoded.picture_mask = without_edge(encoded.picture_mask);
  encoded.subject_mask = framed.subject_mask.defined() ? at_latent_size(framed.subject_mask, side)
                                                       : torch::zeros({1, side, side});
  encoded.has_subject = encoded.subject_mask.any().item<bool>();
  return encoded;
}

}  // namespace mos::tune
