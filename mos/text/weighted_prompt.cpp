#include "mos/text/weighted_prompt.h"

#include <fmt/core.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <optional>

#include "mos/base/error.h"
#include "mos/base/factor.h"
#include "mos/base/text.h"
#include "mos/text/prompt_pieces.h"

namespace mos::text {
namespace {

constexpr double kLess = 0.9;  // compel's -
constexpr std::string_view kEscapable = "()[]{}|<>+-\\";

bool is_space(char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; }
/// Reads from front to back and keeps what brackets are open.
class Reader {
 public:
  explicit Reader(std::string_view prompt) : prompt_(prompt) {}

  WeightedPrompt read() {
    while (at_ < prompt_.size()) read_one();
    for (const auto first : round_) multiply(first, kBracketWeight);
    for (const auto first : square_) multiply(first, 1 / kBracketWeight);
    return collect();
  }

 private:
  void read_one() {
    const char c = prompt_[at_];
    if (c == '\\' && at_ + 1 < prompt_.size() &&
        kEscapable.find(prompt_[at_ + 1]) != kEscapable.npos) {
      pieces_.push_back({{std::string(1, prompt_[at_ + 1])}, false, true});
      at_ += 2;
    } else if (c == '(' || c == '[') {
      (c == '(' ? round_ : square_).push_back(pieces_.size());
      if (round_.size() + square_.size() > kMostBrackets) {
        throw Error(ErrorKind::kUsage,
                    fmt::format("a prompt has more than {} brackets in brackets; take them for "
                                "plain text with --plain-text",
                                kMostBrackets));
      }
      ++at_;
    } else if (c == ')' && close_round(1, std::nullopt)) {
    } else if (c == ']' && !square_.empty()) {
      refuse_change();
      close(square_, 1 / kBracketWeight);
      ++at_;
    } else if (c == ':' && read_number()) {
    } else if (is_break()) {
      pieces_.push_back({{}, true});
      at_ += kBreak.size();
    } else {
      read_text();
    }
  }

  void close(std::vector<std::size_t>& open, double factor) {
    multiply(open.back(), factor);
    open.pop_back();
  }

  /// The ) that begins `length` letters behind at_ minus one; its + or - count instead of its 1.1.
  bool close_round(std::size_t length, std::optional<double> factor) {
    if (round_.empty()) return false;
    at_ += length;
    if (!factor) factor = signs(1).value_or(kBracketWeight);
    close(round_, *factor);
    return true;
  }

  /// `:1.3)`, or false and nothing read.
  bool read_number() {
    if (round_.empty()) return false;
    const auto end = prompt_.find(')', at_);
    if (end == prompt_.npos) return false;
    auto text = prompt_.substr(at_ + 1, end - at_ - 1);
    while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
    while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
    if (text.starts_with('+')) text.remove_prefix(1);
    const auto number = number_in<double>(text);
    return number && close_round(end + 1 - at_, *number);
  }

  /// The factor of at least `fewest` + or - here, which are read; the last of a word.
  std::optional<double> signs(std::size_t fewest) {
    auto end = at_;
    while (end < prompt_.size() && (prompt_[end] == '+' || prompt_[end] == '-') &&
           prompt_[end] == prompt_[at_]) {
      ++end;
    }
    const bool ends_word = end == prompt_.size() || !is_word_byte(prompt_[end]);
    if (end - at_ < fewest || end == at_ || !ends_word) return std::nullopt;
    const double base = prompt_[at_] == '+' ? kBracketWeight : kLess;
    const double factor = std::pow(base, static_cast<double>(end - at_));
    at_ = end;
    return factor;
  }

  bool is_break() const {
    const auto rest = prompt_.substr(at_);
    if (!rest.starts_with(kBreak) || (at_ > 0 && is_word_byte(prompt_[at_ - 1]))) return false;
    return rest.size() == kBreak.size() || !is_word_byte(rest[kBreak.size()]);
  }

  /// Letters up to whatever may mean something, with the ++ of a last word.
  void read_text() {
    constexpr std::size_t kFewestOfWord = 2;  // "well-" is a word
    auto end = at_ + 1;
    const auto is_text = [this](std::size_t i) {
      const char c = prompt_[i];
      const bool begins_word = is_word_byte(c) && !is_word_byte(prompt_[i - 1]);
      return kEscapable.substr(0, 4).find(c) == std::string_view::npos && c != '\\' && c != ':' &&
             c != '+' && c != '-' && !(begins_word && prompt_.substr(i).starts_with(kBreak));
    };
    while (end < prompt_.size() && is_text(end)) ++end;
    const auto text = prompt_.substr(at_, end - at_);
    at_ = end;
    const auto factor =
        !text.empty() && is_raisable(text.back()) ? signs(kFewestOfWord) : std::nullopt;
    if (!factor) return add(text);
    const auto begin = text.find_last_of(" \t\n,") + 1;  // npos + 1 is 0
    add(text.substr(0, begin));
    pieces_.push_back({{std::string(text.substr(begin)), *factor}});
  }

  /// What may stand before ++: a letter, or the > of a concept's word.
  static bool is_raisable(char c) { return is_word_byte(c) || c == '>'; }

  /// Throws for `[from:to:0.5]` and `[a|b]`, whose ] is at at_.
  void refuse_change() const {
    const auto inside = change_in(pieces_, square_.back());
    if (!inside) return;
    throw Error(
        ErrorKind::kUsage,
        fmt::format("[{}] changes a prompt between steps, and a prompt is the same in every "
                    "step here: choose one text, or take brackets for plain text with "
                    "--plain-text",
                    *inside));
  }

  void add(std::string_view text) {
    if (!text.empty()) pieces_.push_back({{std::string(text)}});
  }

  void multiply(std::size_t first, double factor) {
    for (auto i = first; i < pieces_.size(); ++i) pieces_[i].weighted.weight *= factor;
  }

  /// Brackets in brackets and long rows of + multiply beyond all bounds.
  static void check_weight(const WeightedText& part) {
    if (std::abs(part.weight) <= kLargestFactor) return;  // NaN is not
    throw Error(
        ErrorKind::kUsage,
        fmt::format("\"{}\" in a prompt has the weight {:g}, expected a value from {:g} to "
                    "{:g}; take brackets, numbers and signs for plain text with "
                    "--plain-text",
                    printable(trimmed(part.text)), part.weight, -kLargestFactor, kLargestFactor));
  }

  WeightedPrompt collect() const {
    for (const auto& piece : pieces_) {
      if (!piece.is_break) check_weight(piece.weighted);
    }
    return joined(pieces_);
  }

  std::string_view prompt_;
  std::size_t at_ = 0;
  std::vector<PromptPiece> pieces_;
  std::vector<std::size_t> round_, square_;  ///< First pieces in open brackets, each by itself.
};

}  // namespace

WeightedPrompt parse_weights(std::string_view prompt) { return Reader(prompt).read(); }

bool is_plain(const WeightedPrompt& parsed, std::string_view prompt) {
  return parsed.size() == 1 && parsed.front().size() == 1 && parsed.front().front().weight == 1.0 &&
         parsed.front().front().text == prompt;
}

}  // namespace mos::text
