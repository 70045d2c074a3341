#include <fmt/core.h>
#include <utf8proc.h>

#include <cctype>
#include <optional>

#include "mos/base/error.h"
#include "mos/base/text.h"
#include "mos/text/foreign_prompt.h"
#include "mos/text/prompt_pieces.h"

namespace mos::text {
namespace {

/// Python's \w for the letter that begins at `at`.
bool is_word_at(std::string_view text, std::size_t at) {
  utf8proc_int32_t code = 0;
  const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data()) + at;
  if (utf8proc_iterate(bytes, static_cast<utf8proc_ssize_t>(text.size() - at), &code) <= 0) {
    return true;
  }
  if (code == '_') return true;
  const auto kind = utf8proc_category(code);
  return (kind >= UTF8PROC_CATEGORY_LU && kind <= UTF8PROC_CATEGORY_LO) ||
         (kind >= UTF8PROC_CATEGORY_ND && kind <= UTF8PROC_CATEGORY_NO);
}

/// The same for the letter that ends before `at`.
bool is_word_before(std::string_view text, std::size_t at) {
  do --at;
  while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80);
  return is_word_at(text, at);
}

/// Where the next BREAK between words is, or npos.
std::size_t find_break(std::string_view text, std::size_t from) {
  for (auto at = text.find(kBreak, from); at != text.npos; at = text.find(kBreak, at + 1)) {
    const auto end = at + kBreak.size();
    const bool begins = at == 0 || !is_word_before(text, at);
    if (begins && (end == text.size() || !is_word_at(text, end))) return at;
  }
  return text.npos;
}

class A1111Reader {
 public:
  explicit A1111Reader(std::string_view prompt) : prompt_(prompt) {}

  WeightedPrompt read() {
    while (at_ < prompt_.size()) read_one();
    for (const auto first : round_) multiply(first, kBracketWeight);
    for (const auto first : square_) multiply(first, 1 / kBracketWeight);
    return joined(pieces_);
  }

 private:
  void read_one() {
    constexpr std::string_view kMarks = "\\()[]:";
    if (round_.size() + square_.size() > kMostBrackets) {
      throw Error(ErrorKind::kUsage,
                  fmt::format("a prompt has more than {} brackets in brackets", kMostBrackets));
    }
    const char c = prompt_[at_];
    if (c == '\\') return read_escape();
    if (c == ':') return read_colon();
    if (c == '(') {
      round_.push_back(pieces_.size());
    } else if (c == '[') {
      square_.push_back(pieces_.size());
    } else if (c == ')' && !round_.empty()) {
      close(round_, kBracketWeight);
    } else if (c == ']' && !square_.empty()) {
      refuse_change();
      close(square_, 1 / kBracketWeight);
    } else if (c == ')' || c == ']') {
      add(prompt_.substr(at_, 1));
    } else {
      const auto end = std::min(prompt_.find_first_of(kMarks, at_), prompt_.size());
      read_words(prompt_.substr(at_, end - at_));
      at_ = end;
      return;
    }
    ++at_;
  }

  void read_escape() {
    constexpr std::string_view kEscapable = "()[]\\";
    ++at_;
    if (at_ == prompt_.size()) return;
    // A bar is one even without a backslash, but then it may be a change between steps.
    const char c = prompt_[at_];
    if (c == '|' || kEscapable.find(c) != kEscapable.npos) add_escaped(prompt_[at_++]);
  }

  /// `: 1.3 )`, or a colon.
  void read_colon() {
    const auto space = [this](std::size_t at) {
      while (at < prompt_.size() && std::isspace(static_cast<unsigned char>(prompt_[at]))) ++at;
      return at;
    };
    const auto begin = space(at_ + 1);
    auto end = begin;
    if (end < prompt_.size() && (prompt_[end] == '+' || prompt_[end] == '-')) ++end;
    while (end < prompt_.size() &&
           (prompt_[end] == '.' || std::isdigit(static_cast<unsigned char>(prompt_[end]))))
      ++end;
    const auto bracket = space(end);
    auto digits = prompt_.substr(begin, end - begin);
    if (digits.starts_with('+')) digits.remove_prefix(1);
    const auto weight = number_in<double>(digits);
    if (weight && !round_.empty() && bracket < prompt_.size() && prompt_[bracket] == ')') {
      close(round_, *weight);
      at_ = bracket + 1;
      return;
    }
    if (at_ > 0 && prompt_[at_ - 1] == '\\') {
      add_escaped(':');
    } else {
      add(":");
    }
    ++at_;
  }

  void read_words(std::string_view words) {
    std::size_t begin = 0;
    for (auto at = find_break(words, 0); at != words.npos; at = find_break(words, begin)) {
      add(words.substr(begin, at - begin));
      pieces_.push_back({{std::string(kBreak)}, true});
      begin = at + kBreak.size();
    }
    add(words.substr(begin));
  }

  void close(std::vector<std::size_t>& open, double factor) {
    multiply(open.back(), factor);
    open.pop_back();
  }

  /// Of what is between the [ and the ] at at_.
  void refuse_change() const {
    const auto inside = change_in(pieces_, square_.back());
    if (!inside) return;
    throw Error(ErrorKind::kUsage, fmt::format("[{}] changes a prompt between steps", *inside));
  }

  void add(std::string_view text) {
    if (!text.empty()) pieces_.push_back({{std::string(text)}});
  }

  /// A letter that changes nothing between steps either.
  void add_escaped(char c) { pieces_.push_back({{std::string(1, c)}, false, true}); }

  void multiply(std::size_t first, double factor) {
    for (auto i = first; i < pieces_.size(); ++i) {
      pieces_[i].weighted.weight *= pieces_[i].is_break ? -factor : factor;
      // In brackets it is no longer the mark with the weight -1, but a word with another one.
      pieces_[i].is_break = false;
    }
  }

  std::string_view prompt_;
  std::size_t at_ = 0;
  std::vector<PromptPiece> pieces_;
  std::vector<std::size_t> round_, square_;  ///< First pieces in open brackets.
};

}  // namespace

WeightedPrompt parse_a1111(std::string_view prompt) { return A1111Reader(prompt).read(); }

}  // namespace mos::text
