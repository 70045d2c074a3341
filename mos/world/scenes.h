#pragma once

#include "mos/world/canvas.h"
#include "mos/world/random.h"
#include "mos/world/world.h"

namespace mos::world {

/// Draws a scene over the whole canvas, of whatever shape: a few large shapes with clear edges and
/// small things on the ground, in another light in every draw. What subjects stand on begins above
/// 0.8 of the height.
void draw_scene(Canvas& canvas, SceneKind kind, Rng& rng);

/// A plain colour with a little light from above.
void draw_colour(Canvas& canvas, const Rgb& colour, Rng& rng);

/// A round soft shadow on the ground at (x, y).
void draw_shadow(Canvas& canvas, double x, double y, double half_width);

}  // namespace mos::world
