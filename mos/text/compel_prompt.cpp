#include <cctype>
#include <cmath>
#include <optional>

#include "mos/base/text.h"
#include "mos/text/foreign_prompt.h"
#include "mos/text/prompt_pieces.h"

namespace mos::text {
namespace {

constexpr std::string_view kCompelMarks = "()\",.+-=";

bool is_blank(char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; }

/// Reads from front to back and keeps where brackets and quotes began.
class CompelReader {
 public:
  explicit CompelReader(std::string_view prompt) : prompt_(prompt) {}

  WeightedPrompt read() {
    while (at_ < prompt_.size()) read_one();
    return joined(pieces_);
  }

 private:
  void read_one() {
    const char c = prompt_[at_];
    if (c == '\\' && at_ + 1 < prompt_.size() &&
        kCompelMarks.find(prompt_[at_ + 1]) != kCompelMarks.npos) {
      pieces_.push_back({{std::string(1, prompt_[at_ + 1])}});
      at_ += 2;
    } else if (c == '(') {
      open_.push_back(pieces_.size());
      ++at_;
    } else if (c == ')' && !open_.empty()) {
      ++at_;
      close(open_.back());
      open_.pop_back();
    } else if (c == '"' && !quote_ && prompt_.find('"', at_ + 1) != prompt_.npos) {
      quote_ = pieces_.size();
      ++at_;
    } else if (c == '"' && quote_) {
      ++at_;
      close(*quote_);
      quote_.reset();
    } else {
      read_word();
    }
  }

  /// What stands behind a bracket or a quote: signs, or a number.
  void close(std::size_t first) {
    const auto end = std::min(prompt_.find_first_not_of("-.0123456789", at_), prompt_.size());
    auto digits = prompt_.substr(at_, end - at_);
    while (digits.ends_with('.')) digits.remove_suffix(1);  // of a sentence
    const auto number = number_in<double>(digits);
    if (number) at_ += digits.size();
    const double factor = number ? *number : signs().value_or(1.0);
    for (auto i = first; i < pieces_.size(); ++i) pieces_[i].weighted.weight *= factor;
  }

  /// The factor of the + or - here, all of which are read.
  std::optional<double> signs() {
    if (at_ == prompt_.size() || (prompt_[at_] != '+' && prompt_[at_] != '-')) return std::nullopt;
    const auto end = std::min(prompt_.find_first_not_of(prompt_[at_], at_), prompt_.size());
    const double base = prompt_[at_] == '+' ? kBracketWeight : 0.9;
    const double factor = std::pow(base, static_cast<double>(end - at_));
    at_ = end;
    return factor;
  }

  /// Blanks, a mark, or a word with the signs behind it; those in it are its letters.
  void read_word() {
    const auto is_mark = [this](std::size_t at) {
      return is_blank(prompt_[at]) || prompt_[at] == '\\' ||
             kCompelMarks.find(prompt_[at]) != kCompelMarks.npos;
    };
    const auto begin = at_++;
    if (is_mark(begin)) {
      pieces_.push_back({{std::string(prompt_.substr(begin, 1))}});
      return;
    }
    while (at_ < prompt_.size()) {
      const bool is_sign = prompt_[at_] == '+' || prompt_[at_] == '-';
      const bool is_inner = is_sign && at_ + 1 < prompt_.size() && !is_mark(at_ + 1);
      if (is_mark(at_) && !is_inner) break;
      ++at_;
    }
    const auto word = std::string(prompt_.substr(begin, at_ - begin));
    pieces_.push_back({{word, signs().value_or(1.0)}});
  }

  std::string_view prompt_;
  std::size_t at_ = 0;
  std::vector<PromptPiece> pieces_;
  std::vector<std::size_t> open_;     ///< First pieces in open brackets.
  std::optional<std::size_t> quote_;  ///< The same of an open quote.
};

}  // namespace

WeightedPrompt parse_compel(std::string_view prompt) { return CompelReader(prompt).read(); }

}  // namespace mos::text
