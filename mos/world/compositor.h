#pragma once

#include <torch/types.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "mos/world/caption.h"
#include "mos/world/random.h"
#include "mos/world/sprite.h"
#include "mos/world/world.h"

namespace mos::world {

/// Everything that decides a picture, before a pixel of it is drawn.
struct Layout {
  CaptionSpec caption;                ///< What is in it and how it is told.
  std::vector<Placement> placements;  ///< One for each subject of the caption.
  std::uint64_t background_key = 0;   ///< Of the random variation of the background.
};

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

/// Tells what `spec` shows in other words: prefix, order of a pair, background. The subjects and
/// their own words stay.
void choose_words(CaptionSpec& spec, Rng& rng);

/// Makes the pictures of a world. Picture i of a split is a pure function of the world's options
/// and of the sprites; const members may be called from many threads at once.
class Compositor {
 public:
  /// Loads the sprites of all classes from `sprite_folder`/fluent. Throws kIo when one is missing.
  Compositor(World world, const std::filesystem::path& sprite_folder);

  const World& world() const { return world_; }

  /// What picture `index` of `split` shows. Cheap: the caption is caption_text(world(), .caption).
  Layout layout(Split split, std::uint64_t index) const;

  /// Places for the subjects of a caption of the caller's making.
  Layout arrange(const CaptionSpec& spec, Rng& rng) const;

  /// Where the subjects of `layout` are drawn, in the order of its caption.
  std::vector<PlacedSubject> subjects(const Layout& layout) const;

  Composite draw(const Layout& layout) const;

  Composite compose(Split split, std::uint64_t index) const { return draw(layout(split, index)); }

  /// Pictures first … first + count - 1 of `split`: uint8 [count, H, W, 3].
  torch::Tensor pictures(Split split, std::uint64_t first, std::int64_t count) const;

  /// Their captions.
  std::vector<std::string> captions(Split split, std::uint64_t first, std::int64_t count) const;

 private:
  struct Drawing;
  std::vector<Fitted> fit_all(const Layout& layout) const;
  Drawing render(const Layout& layout) const;
  CaptionSpec random_caption(Rng& rng) const;

  World world_;
  std::vector<Sprite> sprites_;  ///< One for each class.
};

/// Draws the background of `spec` over the canvas.
void draw_background(Canvas& canvas, const World& world, const CaptionSpec& spec,
                     std::uint64_t key);

/// Rounds a canvas to uint8 [H, W, 3], written to `target`.
void store_pixels(const Canvas& canvas, std::uint8_t* target);

/// The first `count` pictures of `split` in rows of `columns`: uint8 [H', W', 3], to look at.
torch::Tensor contact_sheet(const Compositor& compositor, Split split, std::int64_t count,
                            std::int64_t columns);

}  // namespace mos::world
