#pragma once

#include <fmt/core.h>

#include <string>

#include "mos/base/field_rules.h"

namespace mos {

/// Of the factors by which users weigh concepts, adapters and networks. Useful ones are near 1;
/// beyond this nothing but infinities comes out.
inline constexpr double kLargestFactor = 1e4;

inline FieldRules a_factor() { return between(-kLargestFactor, kLargestFactor); }

/// Throws kUsage for a factor beyond; `shown` is what the message calls it.
inline void check_factor(const std::string& shown, double value) {
  check_number(shown, value, fmt::format("{:g}", value), a_factor());
}

}  // namespace mos
