#pragma once

#include <string>
#include <vector>

#include "flags.h"
#include "mos/base/outputs.h"
#include "mos/region/condition.h"
#include "studio.h"

/// Spatial conditions of `mos sample`: from flags to networks that are ready to paint with.
namespace mos::app {

/// Help for the flags of take_conditions.
extern const char* const kConditionHelp;

/// Conditions of the command line, one for each adapter; boxes are still the authors' strings.
struct ConditionFlags {
  std::vector<region::Condition> conditions;
  std::vector<std::string> boxes;  ///< One for each condition, or none.
};

/// Throws kUsage when the lists do not have an entry for each adapter.
ConditionFlags take_conditions(Flags& flags);

/// The conditions with their boxes on `canvas`.
std::vector<region::Condition> place_conditions(const ConditionFlags& flags, region::Canvas canvas);

/// The scene of a record with the files that --adapter and --condition name in the place of its
/// own. Throws kUsage for another number of them.
region::Scene moved_conditions(Flags& flags, region::Scene scene);

/// Names the files of the scene's conditions as inputs.
void read_conditions(Outputs& outputs, const region::Scene& scene);

/// Loads the scene's conditions and notes their hashes; a hash that is there must be the file's.
/// Throws kIo, kFormat, kMismatch for adapters, kUsage for pictures of another aspect.
std::vector<region::LoadedCondition> load_conditions(const Studio& studio, region::Scene& scene);

}  // namespace mos::app
