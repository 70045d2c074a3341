#include "tests/fuzz/mutation.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>

namespace mos::fuzz {
namespace {

constexpr std::size_t kLongest = std::size_t{1} << 18;  // bytes of an input

/// Integers that are the last of their kind or the first of another.
constexpr auto kNumbers = std::to_array<std::string_view>({"0",
                                                           "-1",
                                                           "1",
                                                           "77",
                                                           "127",
                                                           "255",
                                                           "256",
                                                           "65535",
                                                           "65536",
                                                           "2147483647",
                                                           "2147483648",
                                                           "4294967295",
                                                           "4294967296",
                                                           "9223372036854775807",
                                                           "9223372036854775808",
                                                           "18446744073709551615",
                                                           "99999999999999999999",
                                                           "-9223372036854775808",
                                                           "0.5",
                                                           "1e30",
                                                           "1e999",
                                                           "-0.0",
                                                           "NaN",
                                                           "Infinity",
                                                           "\"1\"",
                                                           "null",
                                                           "true",
                                                           "[]",
                                                           "{}"});

constexpr auto kBytes = std::to_array<unsigned char>(
    {0x00, 0x01, 0x7F, 0x80, 0xC0, 0xFF, '"', '\\', '{', '[', ',', ':', '\n', ' ', '-', '.'});

bool is_digit(char c) { return c >= '0' && c <= '9'; }

}  // namespace

std::size_t Mutation::below(std::size_t count) { return count == 0 ? 0 : random_() % count; }

std::string Mutation::next(const std::vector<std::string>& pool) {
  auto bytes = pool[below(pool.size())];
  for (auto changes = 1 + below(5); changes > 0; --changes) change(bytes, pool);
  if (bytes.size() > kLongest) bytes.resize(kLongest);
  return bytes;
}

void Mutation::change(std::string& bytes, const std::vector<std::string>& pool) {
  switch (below(8)) {
    case 0:
    case 1:
      return change_byte(bytes);
    case 2:
    case 3:
      return change_number(bytes);
    case 4:
      return insert_word(bytes);
    case 5:
      return move_part(bytes);
    case 6:
      return repeat_part(bytes);
    default:
      return splice(bytes, pool[below(pool.size())]);
  }
}

void Mutation::change_byte(std::string& bytes) {
  if (bytes.empty()) return;
  auto& byte = bytes[below(bytes.size())];
  if (below(2) == 0) {
    byte = static_cast<char>(byte ^ (1 << below(8)));
  } else {
    byte = static_cast<char>(kBytes[below(kBytes.size())]);
  }
}

/// A number written in digits, or one of 1, 2, 4 or 8 bytes.
void Mutation::change_number(std::string& bytes) {
  if (bytes.empty()) return;
  const auto start = below(bytes.size());
  const auto digit =
      std::find_if(bytes.begin() + static_cast<std::ptrdiff_t>(start), bytes.end(), is_digit);
  if (digit != bytes.end() && below(4) != 0) {
    const auto end = std::find_if_not(digit, bytes.end(), is_digit);
    const auto number = kNumbers[below(kNumbers.size())];
    bytes.replace(digit, end, number.begin(), number.end());
    return;
  }
  const auto width = std::size_t{1} << below(4);
  if (bytes.size() < width) return;
  std::uint64_t value = 0;
  const auto place = below(bytes.size() - width + 1);
  std::memcpy(&value, bytes.data() + place, width);
  switch (below(4)) {
    case 0:
      value += below(33) - 16;
      break;
    case 1:
      value = ~std::uint64_t{0} >> below(65 - 1);
      break;
    case 2:
      value = std::uint64_t{1} << below(64);
      break;
    default:
      value = random_();
      break;
  }
  std::memcpy(bytes.data() + place, &value, width);
}

void Mutation::insert_word(std::string& bytes) {
  if (words_.empty()) return change_byte(bytes);
  const auto& word = words_[below(words_.size())];
  const auto place = below(bytes.size() + 1);
  const auto removed = below(2) == 0 ? 0 : std::min(word.size(), bytes.size() - place);
  bytes.replace(place, removed, word);
}

void Mutation::move_part(std::string& bytes) {
  if (bytes.empty()) return;
  const auto begin = below(bytes.size());
  const auto part = bytes.substr(begin, 1 + below(std::min<std::size_t>(bytes.size() - begin, 64)));
  if (below(2) == 0) bytes.erase(begin, part.size());
  if (below(2) == 0) bytes.insert(below(bytes.size() + 1), part);
}

void Mutation::repeat_part(std::string& bytes) {
  if (bytes.empty()) return;
  const auto begin = below(bytes.size());
  const auto part = bytes.substr(begin, 1 + below(8));
  const auto times = below(16) == 0 ? below(20'000) : below(20);
  std::string all;
  for (std::size_t i = 0; i < times && all.size() < kLongest; ++i) all += part;
  bytes.insert(begin, all);
}

void Mutation::splice(std::string& bytes, const std::string& other) {
  const auto head = below(bytes.size() + 1), tail = below(other.size() + 1);
  bytes = bytes.substr(0, head) + other.substr(tail);
}

}  // namespace mos::fuzz
