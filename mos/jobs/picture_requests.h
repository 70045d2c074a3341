#pragma once

#include "mos/base/json.h"

/// What a studio asks about files, which it does not open itself.
namespace mos::jobs {

/// Answers {"do": …} with an object:
///
///     concept       options of PicturesJob: "folder", "base", "options": look_at_pictures()
///     check         "file": {"width", "height"} of a picture; with "mask_of", a picture, that of
///                   a mask for it, as tuning takes masks
///     job           "kind", "options", "scene": {"problems": […]}, see problems_of()
///     thumbnail     "file", "out", "side": {"width", "height"} of the PNG that is written
///     record        "file": {"options", "scene", "program", "left_out", "infotext"} of a painted
///                   picture; "left_out" says what of another program's record nothing here takes
///     concept_file  "file": {"words", "made_by"}
///     model         "file": {"kind": "base", "words", "size"} or {"kind": "adapter"}
///     methods       {"fuse": {METHOD: [the options that it takes]},
///                    "help": {"fuse", "tune": {METHOD: what it does, in a line}}}
///
/// Throws mos::Error as the readers do, kUsage for what is none of these.
Json answer_request(const Json& request);

/// Reads requests from stdin and writes answers to stdout, a line each, until stdin ends or nothing
/// came for half a minute. Failures are {"error": {"kind", "message"}}.
void answer_requests();

}  // namespace mos::jobs
