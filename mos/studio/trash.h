#pragma once

#include <string>
#include <vector>

#include "mos/studio/http.h"

/// What is deleted is moved, and whoever deleted it can have it back: answers to a deletion say
/// what was moved where, [{"path", "trash"}], and POST /mos/v1/trash/restore takes that.
namespace mos::studio {

class StudioFolder;

/// Moves those of `paths` that are there to trash/, and says where they are.
Json discard_all(const StudioFolder& folder, const std::vector<std::string>& paths);

/// {"done": true, "moved": moved}
Reply discarded_reply(const Json& moved);

}  // namespace mos::studio
