#pragma once

#include <torch/types.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "mos/base/progress.h"
#include "mos/world/compositor.h"

namespace mos::pretrain {

/// What `mos pretrain data` renders, once for all trainings.
struct DataOptions {
  std::string sprites;            ///< Folder with a subfolder for each style.
  std::int64_t pictures = 28000;  ///< For training.
  std::int64_t held_out = 768;    ///< Of the same world, for measurements only.
  world::WorldOptions world;
};

template <class Visitor>
void describe(Visitor& visit, DataOptions& options) {
  visit("sprites", options.sprites, "folder of the artwork, with one subfolder for each style");
  visit("pictures", options.pictures, "pictures to train on");
  visit("held_out", options.held_out, "pictures to measure on");
  describe(visit, options.world);
}

/// Composites and their descriptions. The pictures come from a memory-mapped file; captions are
/// worked out again from the world, which also yields wrong captions for a picture.
class Dataset {
 public:
  /// Renders the pictures into `base`/data and writes the tokenizer to `base`/tokenizer. What is
  /// there already for the same options is kept.
  static void prepare(const std::filesystem::path& base, const DataOptions& options,
                      const ProgressCallback& progress, const CancelToken* cancel);

  /// Throws kIo when `base` holds no data.
  explicit Dataset(const std::filesystem::path& base);

  std::int64_t size(world::Split split) const { return pictures(split).size(0); }
  const torch::Tensor& pictures(world::Split split) const;  ///< uint8 [N,H,W,3]
  const std::vector<world::CaptionSpec>& specs(world::Split split) const;
  std::string caption(world::Split split, std::int64_t index) const;
  const world::Compositor& compositor() const { return compositor_; }
  const world::World& world() const { return compositor_.world(); }
  const DataOptions& options() const { return options_; }

  /// Pictures [B,3,H,W] in −1…1, channels last.
  torch::Tensor batch(world::Split split, const torch::Tensor& indices,
                      torch::ScalarType dtype) const;

 private:
  DataOptions options_;
  world::Compositor compositor_;
  torch::Tensor train_, held_out_;
  std::vector<world::CaptionSpec> train_specs_, held_out_specs_;
};

/// uint8 [B,H,W,3] -> [B,3,H,W] in −1…1, channels last.
torch::Tensor to_network(const torch::Tensor& pictures, torch::ScalarType dtype);

/// [B,3,H,W] in −1…1 -> uint8 [B,H,W,3].
torch::Tensor from_network(const torch::Tensor& pictures);

/// A random class of `world` other than those of the spec's subjects.
int other_class(const world::World& world, const world::CaptionSpec& spec, world::Rng& rng);

}  // namespace mos::pretrain
