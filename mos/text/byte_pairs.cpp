#include "mos/text/byte_pairs.h"

#include <fmt/format.h>

#include <algorithm>

#include "mos/base/error.h"
#include "mos/base/file.h"
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

}  // namespace

BytePairs BytePairs::from_directory(const std::filesystem::path& directory) {
  BytePairs result;
  result.read_vocabulary(directory / "vocab.json");
  result.read_merges(directory / "merges.txt");
  const auto symbols = byte_symbols();
  for (std::size_t byte = 0; byte < symbols.size(); ++byte) {
    result.byte_ids_[byte] = result.id(symbols[byte]).value_or(kNoId);
    result.last_byte_ids_[byte] =
        result.id(symbols[byte] + std::string(kEndOfWord)).value_or(kNoId);
  }
  return result;
}

void BytePairs::read_vocabulary(const std::filesystem::path& path) {
  const auto fail = [&path](const std::string& reason) {
    throw Error(ErrorKind::kFormat, fmt::format("cannot read {}: {}", path.string(), reason));
  };
  // Not our order-keeping Json, whose objects look keys up in linear time.
  const auto json =
      nlohmann::json::parse(read_text_file(path), nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || json.empty()) fail("expected an object of tokens and their ids");
  for (const auto& [token, id] : json.items()) {
    if (!id.is_number_integer() || id.get<std::int64_t>() < 0 ||
        id.get<std::int64_t>() > kLargestPossibleId) {
      fail(fmt::format("token \"{}\" has the impossible id {}", token, id.dump()));
    }
    ids_.emplace(token, id.get<std::int64_t>());
    largest_id_ = std::max(largest_id_, id.get<std::int64_t>());
  }
}

void BytePairs::read_merges(const std::filesystem::path& path) {
  const auto text = read_text_file(path);
  std::string_view rest = text;
  std::int64_t line_number = 0;
  while (!rest.empty()) {
    auto line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    if (line.ends_with('\r')) line.remove_suffix(1);
    ++line_number;
    if (line.empty() || (line_number == 1 && line.starts_with("#version"))) continue;
    const auto space = line.find(' ');
    if (space == std::string_view::npos || space == 0 || space + 1 == line.size()) {
      throw Error(ErrorKind::kFormat,
                  fmt::format("cannot read {}: line {} is not two symbols with a space between",
                              path.string(), line_number));
    }
    const auto left = line.substr(0, space), right = line.substr(space + 1);
    const auto left_id = id(left), right_id = id(right);
    const auto merged_id = id(std::string(left) + std::string(right));
    // Merges beyond the vocabulary (the original file lists more than CLIP uses) do not count.
    if (!left_id || !right_id || !merged_id) continue;
    const auto rank = static_cast<std::int64_t>(merge_lines_.size());
    if (merges_.try_emplace({*left_id, *right_id}, Merge{rank, *merged_id}).second) {
      merge_lines_.emplace_back(line);
    }
  }
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

void BytePairs::save(const std::filesystem::path& directory) const {
  std::vector<std::pair<std::int64_t, std::string_view>> by_id;
  for (const auto& [token, id] : ids_) by_id.emplace_back(id, token);
  std::sort(by_id.begin(), by_id.end());
  std::string vocabulary = "{";
  for (const auto& [id, token] : by_id) {
    vocabulary += fmt::format("{}\n  {}: {}", vocabulary.size() == 1 ? "" : ",",
                              nlohmann::json(token).dump(), id);
  }
  write_text_file(directory / "vocab.json", vocabulary + "\n}\n");
  write_text_file(directory / "merges.txt",
                  fmt::format("{}\n{}\n", kVersionLine, fmt::join(merge_lines_, "\n")));
}

}  // namespace mos::text
