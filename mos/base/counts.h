#pragma once

#include <cstdint>

#include "mos/base/field_rules.h"

/// What counts in options are at most: beyond what anybody means, so that a digit too many ends in
/// a sentence instead of all memory, and products of them are whole numbers still.
namespace mos {

inline constexpr std::int64_t kMostSteps = 1'000'000'000;  // of a training
inline constexpr std::int64_t kMostDenoisingSteps = 10'000;
inline constexpr std::int64_t kMostPictures = 1'000'000;  // of one order, painted batch by batch
inline constexpr std::int64_t kMostAtATime = 1024;        // pictures in a batch
inline constexpr std::int64_t kLargestBatch = 65536;      // of a training from nothing
inline constexpr std::int64_t kLargestSide = 16384;       // pixels, of what can be read again
inline constexpr std::int64_t kHighestRank = 65536;
inline constexpr std::int64_t kLargestSeed = std::int64_t{1} << 53;  // a whole number in any JSON
inline constexpr double kMostMinutes = 1e6;

/// A count from `least` to `most`.
inline FieldRules count_of(std::int64_t least, std::int64_t most) {
  return between(static_cast<double>(least), static_cast<double>(most));
}

}  // namespace mos
