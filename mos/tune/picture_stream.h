#pragma once

#include <ATen/core/Generator.h>

#include <cstdint>
#include <string>
#include <vector>

#include "mos/diffusion/model.h"
#include "mos/train/order.h"
#include "mos/tune/captions.h"
#include "mos/tune/draws.h"
#include "mos/tune/latents.h"
#include "mos/tune/objective.h"
#include "mos/tune/options.h"

namespace mos::tune {

/// One set of pictures as batches of it: in which order they come, how each is framed and what it
/// is called. For one thread at a time.
class PictureStream {
 public:
  /// `dataset` is not copied. `order`: what draws the order of its pictures. `phrase` stands for
  /// <TOK>. Throws as LatentSource does.
  PictureStream(const ConceptDataset& dataset, const diffusion::Model& base,
                const TuneOptions& options, Draw order, std::string phrase);

  /// Latents, masks, noise and prompts of batch `index`, without timesteps.
  TuneBatch draw(std::int64_t index, at::Generator& generator, const ForEach& for_each);

 private:
  TuneOptions options_;
  std::string phrase_;
  std::vector<Caption> captions_;    ///< Of each picture.
  std::vector<std::int64_t> round_;  ///< Every picture as often as it repeats.
  LatentSource latents_;
  train::EpochOrder order_;  ///< Of `round_`.
};

/// Canvas side in pixels: the option, or the base model's own size.
/// Throws mos::Error(kUsage) unless it is a multiple of what the networks halve.
std::int64_t canvas_size(const diffusion::Model& base, const PictureOptions& options);

}  // namespace mos::tune
