#pragma once

#include <string>

namespace mos::concepts {

/// A regular expression of Python's `re` as one of ECMAScript, which matches the same texts of
/// letters, digits, dots and underscores. `\A`, `\Z` and `{,n}` are said in ECMAScript's way.
/// Throws mos::Error (kFormat) naming what has none there: lookbehind, named groups, flags,
/// conditions, sets that begin with "]", and what one of the two reads otherwise: "[[:alpha:]]"
/// and escapes such as "\N" that Python alone knows.
std::string ecmascript_of_python(const std::string& pattern);

}  // namespace mos::concepts
