#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "mos/base/json.h"

/// What trainers write into the metadata of their files: kohya's `ss_…` and `modelspec.…`.
namespace mos::concepts {

/// The key under which our files say how a concept stands in a prompt, where its words do not:
/// "<cat1> cat", "sks cat".
inline constexpr const char* kPhraseKey = "phrase";

/// The words that a LoRA without words of its own listens to, as far as the file tells: its
/// trigger phrase, or the most frequent tags of its training captions. At most `count`.
std::vector<std::string> trained_phrases(const std::map<std::string, std::string>& metadata,
                                         std::size_t count);

/// The entries that say something about the result: base model, network, rank and alpha, steps,
/// pictures, resolution, learning rates, clip skip, frequent tags. Empty without such metadata.
Json training_summary(const std::map<std::string, std::string>& metadata);

}  // namespace mos::concepts
