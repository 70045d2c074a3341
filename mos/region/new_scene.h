#pragma once

#include <cstddef>
#include <string>

#include "mos/region/region.h"

/// What a scene must hold to that is painted for the first time.
namespace mos::region {

/// Throws kUsage for what a new scene must not have, and records of earlier ones may: one name (or
/// number, of a region without a name) for two regions, and two backgrounds.
void check_new_scene(const Scene& scene);

/// What messages and --redo-region call the region `index`: its name, else its number from 1.
std::string name_of_region(const Scene& scene, std::size_t index);

}  // namespace mos::region
