#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace mos {

/// The candidate with the fewest single-letter edits from `word`, or an empty string when none is
/// near enough (a third of the word) to be what the user meant.
std::string nearest(std::string_view word, const std::vector<std::string>& candidates);

/// "; did you mean 'x'?" or nothing.
std::string did_you_mean(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace mos
