#include "mos/text/byte_pairs.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <functional>
#include <queue>
#include <tuple>

#include "mos/base/error.h"
#include "mos/base/json.h"
#include "mos/base/text.h"
#include "mos/text/clean_text.h"

namespace mos::text {
namespace {

constexpr std::string_view kEndOfWord = "</w>";
constexpr std::string_view kVersionLine = "#version: 0.2";
constexpr std::int64_t kNoId = -1;

/// The printable character that stands for each byte (`bytes_to_unicode` of GPT-2): itself where
/// it is printable Latin-1, else the next free one from U+0100.
std::array<std::string, 256> byte_symbols() {
  std::array<std::string, 256> symbols;
  std::int32_t next = 0x100;
  for (std::int32_t byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) ||
                           (byte >= 0xAE && byte <= 0xFF);
    append_utf8(symbols[static_cast<std::size_t>(byte)], printable ? byte : next++);
  }
  return symbols;
}

/// The two symbols of a line of merges.txt; nothing when it is none.
std::optional<std::pair<std::string_view, std::string_view>> symbols_of(std::string_view line) {
  const auto space = line.find(' ');
  if (space == std::string_view::npos || space == 0 || space + 1 == line.size()) {
    return std::nullopt;
  }
  return std::pair(line.substr(0, space), line.substr(space + 1));
}

/// Calls `visit(line, number)` for every line that is a merge.
template <typename Visit>
void for_each_merge_line(std::string_view text, Visit visit) {
  std::int64_t number = 0;
  while (!text.empty()) {
    auto line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    if (line.ends_with('\r')) line.remove_suffix(1);
    ++number;
    if (!line.empty() && !(number == 1 && line.starts_with("#version"))) visit(line, number);
  }
}

}  // namespace

BytePairs BytePairs::from_texts(const std::string& vocabulary, const std::string& merges,
                                const std::string& origin) {
  BytePairs result;
  result.read_vocabulary(vocabulary, origin + "/vocab.json");
  result.read_merges(merges, origin + "/merges.txt");
  result.find_bytes();
  return result;
}

BytePairs BytePairs::from_merges(std::string_view merges,
                                 const std::vector<std::string>& specials) {
  BytePairs result;
  const auto symbols = byte_symbols();
  // The printable bytes come first there, in order, then the others.
  std::vector<std::string> ordered(symbols.begin(), symbols.end());
  std::sort(ordered.begin(), ordered.end());
  for (const auto* end : {"", "</w>"}) {
    for (const auto& symbol : ordered) result.add(symbol + end, result.size());
  }
  for_each_merge_line(merges, [&](std::string_view line, std::int64_t) {
    const auto [left, right] = symbols_of(line).value();
    result.add(std::string(left) + std::string(right), result.size());
  });
  for (const auto& token : specials) result.add(token, result.size());
  result.read_merges(merges, "merges");
  result.find_bytes();
  return result;
}

void BytePairs::add(const std::string& token, std::int64_t id) {
  ids_.emplace(token, id);
  largest_id_ = std::max(largest_id_, id);
}

void BytePairs::find_bytes() {
  const auto symbols = byte_symbols();
  for (std::size_t byte = 0; byte < symbols.size(); ++byte) {
    byte_ids_[byte] = id(symbols[byte]).value_or(kNoId);
    last_byte_ids_[byte] = id(symbols[byte] + std::string(kEndOfWord)).value_or(kNoId);
  }
}

void BytePairs::read_vocabulary(const std::string& text, const std::string& origin) {
  const auto fail = [&origin](const std::string& reason) {
    throw Error(ErrorKind::kFormat, fmt::format("cannot read {}: {}", origin, reason));
  };
  const auto json = parse_json(text, origin);
  if (!json.is_object() || json.empty()) fail("expected an object of tokens and their ids");
  for (const auto& [token, value] : json.items()) {
    std::int64_t id = 0;
    if (!assign_json(value, id) || id < 0 || id > kLargestTokenId) {
      fail(fmt::format("token \"{}\" has the impossible id {}", printable(token), quoted(value)));
    }
    add(token, id);
  }
}

void BytePairs::read_merges(std::string_view text, const std::string& origin) {
  for_each_merge_line(text, [&](std::string_view line, std::int64_t number) {
    const auto symbols = symbols_of(line);
    if (!symbols) {
      throw Error(ErrorKind::kFormat,
                  fmt::format("cannot read {}: line {} is not two symbols with a space between",
                              origin, number));
    }
    const auto left = id(symbols->first), right = id(symbols->second);
    const auto merged = id(std::string(symbols->first) + std::string(symbols->second));
    // Merges beyond the vocabulary (the original file lists more than CLIP uses) do not count.
    if (!left || !right || !merged) return;
    const auto rank = static_cast<std::int64_t>(merge_lines_.size());
    if (merges_.try_emplace({*left, *right}, Merge{rank, *merged}).second) {
      merge_lines_.emplace_back(line);
    }
  });
}

/// The symbols of one piece while pairs of them are merged. Each pass of the definition merges
/// every occurrence of the pair with the lowest rank, from left to right; a queue of the pairs by
/// rank and place finds them without looking through the whole piece, which a long one would make
/// quadratic.
class BytePairs::Merging {
 public:
  Merging(const BytePairs& rules, std::vector<std::int64_t> symbols)
      : rules_(rules), symbols_(std::move(symbols)) {
    for (std::size_t i = 0; i < symbols_.size(); ++i) {
      previous_.push_back(i == 0 ? kNowhere : i - 1);
      next_.push_back(i + 1);
    }
    for (std::size_t i = 0; i + 1 < symbols_.size(); ++i) queue_pair(i);
  }

  void run() {
    while (!queue_.empty()) {
      const auto rank = queue_.top().rank;
      std::vector<std::size_t> changed;
      for (; !queue_.empty() && queue_.top().rank == rank; queue_.pop()) {
        if (merge(queue_.top())) changed.push_back(queue_.top().place);
      }
      for (const auto place : changed) {  // what they make is for the passes after this one
        if (symbols_[place] == kGone) continue;
        queue_pair(place);
        if (previous_[place] != kNowhere) queue_pair(previous_[place]);
      }
    }
  }

  void append_to(std::vector<std::int64_t>& ids, std::int64_t unknown_id) const {
    for (std::size_t i = 0; i < symbols_.size(); i = next_[i]) {
      ids.push_back(symbols_[i] == kNoId ? unknown_id : symbols_[i]);
    }
  }

 private:
  static constexpr std::size_t kNowhere = SIZE_MAX;
  static constexpr std::int64_t kGone = -2;  ///< Part of the symbol before it now.

  /// A pair as it was when it was queued.
  struct Candidate {
    std::int64_t rank;
    std::size_t place;
    std::int64_t left, right, merged;
    bool operator>(const Candidate& other) const {
      return std::tie(rank, place) > std::tie(other.rank, other.place);
    }
  };

  void queue_pair(std::size_t place) {
    const auto right = next_[place];
    if (right >= symbols_.size()) return;
    const auto* rule = rules_.find_merge(symbols_[place], symbols_[right]);
    if (rule != nullptr) {
      queue_.push({rule->rank, place, symbols_[place], symbols_[right], rule->merged});
    }
  }

  /// False when the pair is not there any more.
  bool merge(const Candidate& pair) {
    const auto right = next_[pair.place];
    if (symbols_[pair.place] != pair.left || right >= symbols_.size() ||
        symbols_[right] != pair.right) {
      return false;
    }
    symbols_[pair.place] = pair.merged;
    symbols_[right] = kGone;
    next_[pair.place] = next_[right];
    if (next_[right] < symbols_.size()) previous_[next_[right]] = pair.place;
    return true;
  }

  const BytePairs& rules_;
  std::vector<std::int64_t> symbols_;
  std::vector<std::size_t> previous_, next_;  ///< Of the symbols that are left.
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue_;
};

const BytePairs::Merge* BytePairs::find_merge(std::int64_t left, std::int64_t right) const {
  const auto found = merges_.find({left, right});
  return found == merges_.end() ? nullptr : &found->second;
}

void BytePairs::encode(std::string_view piece, std::int64_t unknown_id,
                       std::vector<std::int64_t>& ids) const {
  std::vector<std::int64_t> symbols;
  for (const char c : piece) symbols.push_back(byte_ids_[static_cast<unsigned char>(c)]);
  if (!piece.empty()) {
    symbols.back() = last_byte_ids_[static_cast<unsigned char>(piece.back())];
  }
  Merging merging(*this, std::move(symbols));
  merging.run();
  merging.append_to(ids, unknown_id);
}

std::optional<std::int64_t> BytePairs::id(std::string_view token) const {
  const auto found = ids_.find(token);
  if (found == ids_.end()) return std::nullopt;
  return found->second;
}

std::string BytePairs::vocabulary_text() const {
  std::vector<std::pair<std::int64_t, std::string_view>> by_id;
  for (const auto& [token, id] : ids_) by_id.emplace_back(id, token);
  std::sort(by_id.begin(), by_id.end());
  std::string text = "{";
  for (const auto& [id, token] : by_id) {
    text +=
        fmt::format("{}\n  {}: {}", text.size() == 1 ? "" : ",", nlohmann::json(token).dump(), id);
  }
  return text + "\n}\n";
}

std::string BytePairs::merges_text() const {
  return fmt::format("{}\n{}\n", kVersionLine, fmt::join(merge_lines_, "\n"));
}

}  // namespace mos::text
