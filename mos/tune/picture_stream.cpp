#include "mos/tune/picture_stream.h"

#include <fmt/core.h>

#include <utility>

#include "mos/base/error.h"
#include "mos/base/random.h"

namespace mos::tune {

using torch::Tensor;

namespace {

/// N(0,1) of `shape` and `offset` times N(0,1) for each channel.
Tensor draw_noise(at::IntArrayRef shape, double offset, at::Generator& generator) {
  auto noise = randn(shape, generator);
  if (offset == 0) return noise;
  return noise + offset * randn({shape[0], 1, 1}, generator);
}

/// Samples of the VAE's posteriors, with N(0,1) numbers `spread`, and the pictures' masks.
void add_pictures(const std::vector<EncodedPicture>& pictures, const std::vector<Tensor>& spread,
                  TuneBatch& batch) {
  std::vector<Tensor> latents, picture_masks, subject_masks;
  for (std::size_t i = 0; i < pictures.size(); ++i) {
    // Reparametrised samples of q(z|x), scaled already.
    latents.push_back(pictures[i].mean + pictures[i].deviation * spread[i]);
    picture_masks.push_back(pictures[i].picture_mask);
    subject_masks.push_back(pictures[i].subject_mask);
    batch.has_subject.push_back(pictures[i].has_subject);
  }
  batch.latents = torch::stack(latents);
  batch.picture_masks = torch::stack(picture_masks);
  batch.subject_masks = torch::stack(subject_masks);
}

/// That of the `count` places of a round.
train::EpochOrder order_of(std::uint64_t seed, Draw purpose, std::int64_t count) {
  return {count, [seed, purpose, count](std::int64_t epoch) {
            auto generator = generator_for(seed, purpose, static_cast<std::uint64_t>(epoch));
            return permutation(generator, count);
          }};
}

/// The picture at each place of a round, in which every picture comes as often as it repeats.
std::vector<std::int64_t> round_of(const ConceptDataset& dataset) {
  std::vector<std::int64_t> round;
  for (std::size_t i = 0; i < dataset.pictures.size(); ++i) {
    const auto repeats = static_cast<std::size_t>(dataset.pictures[i].repeats);
    round.insert(round.end(), repeats, static_cast<std::int64_t>(i));
  }
  return round;
}

}  // namespace

std::int64_t canvas_size(const diffusion::Model& base, const PictureOptions& options) {
  const auto factor = base.downscale();
  const auto size = options.size > 0 ? options.size : base.unet->config().sample_size * factor;
  if (size % factor != 0) {
    throw Error(
        ErrorKind::kUsage,
        fmt::format("\"size\" is {}, but this base model needs a multiple of {}", size, factor));
  }
  return size;
}

PictureStream::PictureStream(const ConceptDataset& dataset, const diffusion::Model& base,
                             const TuneOptions& options, Draw order, std::string phrase)
    : options_(options),
      phrase_(std::move(phrase)),
      round_(round_of(dataset)),
      latents_(dataset, base.vae, options.pictures, canvas_size(base, options.pictures),
               options.run.seed),
      order_(order_of(options.run.seed, order, static_cast<std::int64_t>(round_.size()))) {
  for (const auto& picture : dataset.pictures) captions_.push_back(picture.caption);
}

TuneBatch PictureStream::draw(std::int64_t index, at::Generator& generator,
                              const ForEach& for_each) {
  const auto shape = latents_.latent_shape();
  const auto count = options_.optimiser.batch;
  TuneBatch batch;
  std::vector<PictureVariant> pictures;
  std::vector<Tensor> spread, noise;
  for (std::int64_t i = 0; i < count; ++i) {
    // A pure function of the step: a resumed run draws what an uninterrupted one does.
    const auto position = index * count + i;
    const auto picture = round_[static_cast<std::size_t>(order_.at(position))];
    const auto kept = latents_.variants(picture);
    // Without a cache every position is a variant of its own.
    pictures.push_back({picture, kept == 0 ? position : uniform_int(generator, 0, kept - 1)});
    const auto prompt =
        draw_prompt(captions_[static_cast<std::size_t>(picture)], options_.captions, generator);
    batch.prompts.push_back(fill_placeholder(prompt, phrase_));
    spread.push_back(randn(shape, generator));
    noise.push_back(draw_noise(shape, options_.loss.noise_offset, generator));
  }
  batch.noise = torch::stack(noise);
  const auto encoded = latents_.get(pictures, for_each);
  for (std::size_t i = 0; i < encoded.size(); ++i) {
    const auto words = zoom_words(encoded[i].zoom);
    if (words.empty() || batch.prompts[i].empty()) continue;
    const auto last = static_cast<std::int64_t>(words.size()) - 1;
    const auto& chosen = words[static_cast<std::size_t>(uniform_int(generator, 0, last))];
    batch.prompts[i] = chosen + " " + batch.prompts[i];
  }
  add_pictures(encoded, spread, batch);
  return batch;
}

}  // namespace mos::tune
