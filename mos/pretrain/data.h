#pragma once

#include <torch/types.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "mos/base/counts.h"
#include "mos/world/compositor.h"

namespace mos::pretrain {

/// Which pictures `mos pretrain` trains on and which it measures on.
struct DataOptions {
  std::string sprites;             ///< Folder with a subfolder for each style.
  std::int64_t pictures = 200000;  ///< For training, of all canvases together.
  std::int64_t held_out = 4000;    ///< Of the same world, for measurements only.
  world::WorldOptions world;
};

template <class Visitor>
void describe(Visitor& visit, DataOptions& options) {
  visit("sprites", options.sprites, "folder of the artwork, with one subfolder for each style");
  visit("pictures", options.pictures, "pictures to train on", count_of(1, kMostSteps));
  visit("held_out", options.held_out, "pictures to measure on", count_of(1, kMostSteps));
  describe(visit, options.world);
}

/// The pictures of a world and their descriptions. Nothing of it is stored: a picture is drawn when
/// it is asked for (about a millisecond), and is the same in every run. Pictures of one canvas are
/// counted from 0, as only they fit into one batch; canvas 0 is the square.
///
/// Const members may be called from many threads at once. Each draws with the threads that LibTorch
/// may use in the caller, so a worker should ask for its own share of a batch and not for all of
/// it.
class Dataset {
 public:
  /// Writes what a training needs into `base`: data/options.json and the tokenizer. Throws kUsage
  /// where `base` has been made with other options, kIo where sprites are missing.
  static void prepare(const std::filesystem::path& base, const DataOptions& options);

  /// Throws kIo when `base` holds no data.
  explicit Dataset(const std::filesystem::path& base);

  std::size_t canvases() const { return world().canvases.size(); }
  std::int64_t size(world::Split split, std::size_t canvas = 0) const;
  /// What picture `index` shows and says; a microsecond.
  world::Layout layout(world::Split split, std::int64_t index, std::size_t canvas = 0) const;
  std::string caption(world::Split split, std::int64_t index, std::size_t canvas = 0) const;
  const world::Compositor& compositor() const { return compositor_; }
  const world::World& world() const { return compositor_.world(); }
  const DataOptions& options() const { return options_; }

  /// Pictures `indices` int64 [B] of one canvas: uint8 [B,H,W,3].
  torch::Tensor pictures(world::Split split, const torch::Tensor& indices,
                         std::size_t canvas = 0) const;

  /// The same as [B,3,H,W] in −1…1, channels last.
  torch::Tensor batch(world::Split split, const torch::Tensor& indices, torch::ScalarType dtype,
                      std::size_t canvas = 0) const;

 private:
  DataOptions options_;
  world::Compositor compositor_;
};

/// uint8 [B,H,W,3] -> [B,3,H,W] in −1…1, channels last.
torch::Tensor to_network(const torch::Tensor& pictures, torch::ScalarType dtype);

/// [B,3,H,W] in −1…1 -> uint8 [B,H,W,3].
torch::Tensor from_network(const torch::Tensor& pictures);

/// A random class of `world` other than those of the spec's subjects.
int other_class(const world::World& world, const world::CaptionSpec& spec, world::Rng& rng);

}  // namespace mos::pretrain
