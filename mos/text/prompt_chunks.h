#pragma once

#include <cstdint>
#include <vector>

/// Texts longer than the text encoder takes, cut into chunks that it does.
namespace mos::text {

/// A token without the frame of a text, and its weight.
struct WeightedToken {
  std::int64_t id = 0;
  double weight = 1.0;
  bool operator==(const WeightedToken&) const = default;
};

/// Chunks of at most `length` tokens each, at least one. Where a chunk is full and has a comma
/// among its last 20 tokens, what stands behind that goes into the next one, as in A1111.
std::vector<std::vector<WeightedToken>> split_chunks(const std::vector<WeightedToken>& tokens,
                                                     std::int64_t comma_id, std::size_t length);

}  // namespace mos::text
