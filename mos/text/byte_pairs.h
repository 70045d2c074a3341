#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace mos::text {

/// Larger ids are refused: no vocabulary is near it, and sums with it stay numbers.
inline constexpr std::int64_t kLargestTokenId = 100'000'000;

/// Byte pair encoding with a fixed vocabulary, as in `vocab.json` and `merges.txt` of CLIP: every
/// byte is a printable character, and `</w>` closes the last symbol of a word.
class BytePairs {
 public:
  /// From the texts of `vocab.json` and `merges.txt` in the folder `origin`.
  /// Throws mos::Error(kFormat) when they are not a vocabulary and its merges.
  static BytePairs from_texts(const std::string& vocabulary, const std::string& merges,
                              const std::string& origin);

  /// From the merges alone, where the vocabulary follows from them as in OpenAI's CLIP
  /// (simple_tokenizer.py): the bytes, the bytes at the end of a word, what each merge makes, and
  /// `specials`.
  static BytePairs from_merges(std::string_view merges, const std::vector<std::string>& specials);

  /// Ids of one piece (see split_pieces): merged as far as the rules go. Symbols that the
  /// vocabulary lacks become `unknown_id`.
  void encode(std::string_view piece, std::int64_t unknown_id,
              std::vector<std::int64_t>& ids) const;

  /// Id of an entry of vocab.json as it is written there ("cat</w>").
  std::optional<std::int64_t> id(std::string_view token) const;

  std::int64_t size() const { return static_cast<std::int64_t>(ids_.size()); }
  std::int64_t largest_id() const { return largest_id_; }

  /// What from_texts reads.
  std::string vocabulary_text() const;
  std::string merges_text() const;

 private:
  class Merging;
  struct Merge {
    std::int64_t rank;
    std::int64_t merged;
  };
  using Pair = std::pair<std::int64_t, std::int64_t>;
  struct PairHash {
    std::size_t operator()(const Pair& pair) const {
      constexpr std::int64_t kOdd = 0x9E3779B97F4A7C15LL & INT64_MAX;
      return std::hash<std::uint64_t>()(static_cast<std::uint64_t>(pair.first) *
                                            static_cast<std::uint64_t>(kOdd) ^
                                        static_cast<std::uint64_t>(pair.second));
    }
  };

  void add(const std::string& token, std::int64_t id);
  void read_vocabulary(const std::string& text, const std::string& origin);
  void read_merges(std::string_view text, const std::string& origin);
  void find_bytes();
  const Merge* find_merge(std::int64_t left, std::int64_t right) const;

  std::map<std::string, std::int64_t, std::less<>> ids_;
  std::vector<std::string> merge_lines_;
  std::unordered_map<Pair, Merge, PairHash> merges_;
  std::array<std::int64_t, 256> byte_ids_{};       ///< Id of each byte inside a word; -1: none.
  std::array<std::int64_t, 256> last_byte_ids_{};  ///< The same at the end of a word.
  std::int64_t largest_id_ = -1;
};

}  // namespace mos::text
