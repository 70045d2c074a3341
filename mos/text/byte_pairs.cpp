#include "mos/text/byte_pairs.h"

#include <fmt/format.h>

#include <algorithm>

#include "mos/base/error.h"
#include "mos/base/json.h"
#include "mos/text/clean_text.h"

namespace mos::text {
namespace {

constexpr std::string_view kEndOfWord = "</w>";
constexpr std::string_view kVersionLine = "#version: 0.2";
constexpr std::int64_t kNoId = -1;
constexpr std::int64_t kLargestPossibleId = 100'000'000;

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
  // Not our order-keeping Json, whose objects look keys up in linear time.
  const auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || json.empty()) fail("expected an object of tokens and their ids");
  for (const auto& [token, id] : json.items()) {
    if (!id.is_number_integer() || id.get<std::int64_t>() < 0 ||
        id.get<std::int64_t>() > kLargestPossibleId) {
      fail(fmt::format("token \"{}\" has the impossible id {}", token, id.dump()));
    }
    add(token, id.get<std::int64_t>());
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
  while (symbols.size() > 1) {
    const Merge* best = nullptr;
    Pair best_pair;
    for (std::size_t i = 0; i + 1 < symbols.size(); ++i) {
      const auto* merge = find_merge(symbols[i], symbols[i + 1]);
      if (merge != nullptr && (best == nullptr || merge->rank < best->rank)) {
        best = merge;
        best_pair = {symbols[i], symbols[i + 1]};
      }
    }
    if (best == nullptr) break;
    std::size_t kept = 0;
    for (std::size_t i = 0; i < symbols.size(); ++i) {
      const bool merges = i + 1 < symbols.size() && Pair{symbols[i], symbols[i + 1]} == best_pair;
      symbols[kept++] = merges ? best->merged : symbols[i];
      if (merges) ++i;
    }
    symbols.resize(kept);
  }
  for (const auto symbol : symbols) ids.push_back(symbol == kNoId ? unknown_id : symbol);
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
