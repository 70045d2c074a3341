#pragma once

#include "mos/world/canvas.h"
#include "mos/world/random.h"

/// The scenes of draw_scene that are open country by day.
namespace mos::world {

void beach(Canvas& canvas, Rng& rng);
void forest(Canvas& canvas, Rng& rng);
void mountains(Canvas& canvas, Rng& rng);
void snow(Canvas& canvas, Rng& rng);
void desert(Canvas& canvas, Rng& rng);
void meadow(Canvas& canvas, Rng& rng);
void lake(Canvas& canvas, Rng& rng);
/// Rows of purple flowers that run to a yellow evening sky, with a mill.
void lavender(Canvas& canvas, Rng& rng);

}  // namespace mos::world
