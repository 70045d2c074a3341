#pragma once

#include "mos/base/json.h"

/// What a studio asks about files, which it does not open itself.
namespace mos::jobs {

/// Answers {"do": …} with an object:
///
///     concept       options of PicturesJob: "folder", "base", "options": look_at_pictures()
///     check         "file", "like": {"width", "height"}; a picture, of the size of `like` unless
///                   that is empty
///     thumbnail     "file", "out", "side": {"width", "height"} of the PNG that is written
///     record        "file": {"options", "scene", "program", "infotext"} of a painted picture
///     concept_file  "file": {"words", "made_by"}
///     model         "file": {"kind": "base", "words", "size"} or {"kind": "adapter"}
///     methods       {"fuse": {METHOD: [the options that it takes]}}
///
/// Throws mos::Error as the readers do, kUsage for what is none of these.
Json answer_request(const Json& request);

/// Reads requests from stdin and writes answers to stdout, a line each, until stdin ends or nothing
/// came for half a minute. Failures are {"error": {"kind", "message"}}.
void answer_requests();

}  // namespace mos::jobs
