#pragma once

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
  std::size_t canvas = 0;             ///< Into World::canvases.
  std::uint64_t background_key = 0;   ///< Of the random variation of the background.
};

/// Which picture of a world: pictures of different canvases are counted apart.
struct PictureKey {
  Split split = Split::kTrain;
  std::uint64_t index = 0;
  std::size_t canvas = 0;
};

/// What a picture shows: a function of the world's options and of the key. Cheap (a microsecond);
/// its caption is caption_text(world, .caption).
Layout layout_of(const World& world, const PictureKey& key);

/// Places on a canvas for the subjects of a caption of the caller's making.
Layout arrange(const World& world, const CaptionSpec& spec, std::size_t canvas, Rng& rng);

}  // namespace mos::world
