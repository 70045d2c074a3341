#pragma once

#include <torch/types.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "mos/world/layout.h"
#include "mos/world/sprite.h"

namespace mos::world {

struct PlacedSubject {
  int class_index = 0;
  Box box;
};

struct Composite {
  torch::Tensor picture;  ///< uint8 [H, W, 3]
  torch::Tensor labels;   ///< uint8 [H, W]: 0 background, 1 + i where subject i is seen.
  std::vector<PlacedSubject> subjects;
  CaptionSpec spec;
  std::string caption;
};

/// uint8 [H, W], 255 where subject `index` is seen.
torch::Tensor subject_mask(const Composite& composite, std::size_t index);

/// Makes the pictures of a world. A picture is a pure function of the world's options, of its key
/// and of the sprites; const members may be called from many threads at once.
class Compositor {
 public:
  /// Loads the sprites of all classes in all styles from `sprite_folder`/<style's folder>. Throws
  /// kIo when one is missing.
  Compositor(World world, const std::filesystem::path& sprite_folder);

  const World& world() const { return world_; }

  /// Where the subjects of `layout` are drawn, in the order of its caption.
  std::vector<PlacedSubject> subjects(const Layout& layout) const;

  Composite draw(const Layout& layout) const;

  Composite compose(const PictureKey& key) const { return draw(layout_of(world_, key)); }

  /// The pictures of `indices` int64 [B] of one canvas: uint8 [B, H, W, 3], drawn by all threads
  /// that LibTorch may use here (one within mos::Workers).
  torch::Tensor pictures(Split split, const torch::Tensor& indices, std::size_t canvas = 0) const;

 private:
  struct Drawing;
  const Sprite& sprite_of(const CaptionSpec& spec, std::size_t which) const;
  std::vector<Fitted> fit_all(const Layout& layout) const;
  Drawing render(const Layout& layout) const;

  World world_;
  std::vector<std::vector<Sprite>> sprites_;  ///< By style, then by class.
};

/// Draws the background of `spec` over the canvas.
void draw_background(Canvas& canvas, const World& world, const CaptionSpec& spec,
                     std::uint64_t key);

/// Rounds a canvas to uint8 [H, W, 3], written to `target`.
void store_pixels(const Canvas& canvas, std::uint8_t* target);

/// The first `count` pictures of one canvas of `split` in rows of `columns`: uint8 [H', W', 3], to
/// look at.
torch::Tensor contact_sheet(const Compositor& compositor, const PictureKey& first,
                            std::int64_t count, std::int64_t columns);

}  // namespace mos::world
