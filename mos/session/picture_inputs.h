#pragma once

#include "mos/base/outputs.h"
#include "mos/region/sample.h"

/// Pictures that painting reads: the one to begin with, its mask, and masks of regions.
namespace mos::session {

/// Announces the files.
void read_pictures(Outputs& outputs, const region::Scene& scene,
                   const region::PictureOptions& options);

/// Loads what painting begins with and notes the SHA-256 of all of these files in `scene` and
/// `options`. Throws kMismatch when one is noted already and is another; as region::load_start.
region::LoadedStart load_pictures(region::Scene& scene, region::PictureOptions& options);

}  // namespace mos::session
