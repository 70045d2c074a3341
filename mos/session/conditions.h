#pragma once

#include <vector>

#include "mos/base/outputs.h"
#include "mos/region/condition.h"
#include "mos/session/session.h"

/// Spatial conditions of a scene: networks that are ready to paint with.
namespace mos::session {

/// Names the files of the scene's conditions as inputs.
void read_conditions(Outputs& outputs, const region::Scene& scene);

/// Loads the scene's conditions and notes their hashes; a hash that is there must be the file's.
/// Throws kIo, kFormat, kMismatch for adapters, kUsage for pictures of another aspect.
std::vector<region::LoadedCondition> load_conditions(const Session& session, region::Scene& scene);

}  // namespace mos::session
