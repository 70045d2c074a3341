#pragma once

#include <string_view>

namespace mos::text {

/// merges.txt of OpenAI's CLIP, from data/clip_merges.txt at build time: installed or not, the
/// program needs no file for it.
std::string_view clip_merges();

}  // namespace mos::text
