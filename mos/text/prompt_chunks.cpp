#include "mos/text/prompt_chunks.h"

namespace mos::text {

std::vector<std::vector<WeightedToken>> split_chunks(const std::vector<WeightedToken>& tokens,
                                                     std::int64_t comma_id, std::size_t length) {
  constexpr std::size_t kLookBack = 20;  // A1111's comma_padding_backtrack
  std::vector<std::vector<WeightedToken>> chunks(1);
  std::size_t behind_comma = 0;  // 0: the chunk has none
  for (const auto& token : tokens) {
    if (chunks.back().size() == length) {
      auto& full = chunks.back();
      std::vector<WeightedToken> next;
      if (token.id != comma_id && behind_comma > 0 && length - behind_comma < kLookBack) {
        const auto from = full.begin() + static_cast<std::ptrdiff_t>(behind_comma);
        next.assign(from, full.end());
        full.erase(from, full.end());
      }
      chunks.push_back(std::move(next));
      behind_comma = 0;
    }
    chunks.back().push_back(token);
    if (token.id == comma_id) behind_comma = chunks.back().size();
  }
  return chunks;
}

}  // namespace mos::text
