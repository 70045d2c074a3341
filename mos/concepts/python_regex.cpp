#include "mos/concepts/python_regex.h"

#include <fmt/core.h>

#include <algorithm>
#include <cctype>
#include <string_view>
#include <utility>

#include "mos/base/error.h"

namespace mos::concepts {
namespace {

/// Of "\164", which is a letter by its number in Python; "\1" is a group there.
constexpr std::size_t kLongestOctal = 4;

bool is_digit(char c) { return std::isdigit(static_cast<unsigned char>(c)) != 0; }

/// Goes through a pattern piece by piece; what is special in none of the two is taken as it is.
class Translation {
 public:
  explicit Translation(std::string_view pattern) : pattern_(pattern) {}

  std::string text() {
    while (!rest().empty()) {
      if (rest().front() == '\\') {
        escape(/*in_set=*/false);
      } else if (rest().front() == '[') {
        set();
      } else if (rest().starts_with("(?")) {
        group();
      } else if (rest().front() == '{') {
        brace();
      } else {
        take(1);
      }
    }
    return std::move(result_);
  }

 private:
  std::string_view rest() const { return pattern_.substr(at_); }

  /// Behind the digits that stand from `begin` on.
  std::size_t end_of_digits(std::size_t begin) const {
    while (begin < rest().size() && is_digit(rest()[begin])) ++begin;
    return begin;
  }

  void take(std::size_t letters) {
    result_ += rest().substr(0, letters);
    at_ += letters;
  }
  void take(std::string_view taken, std::string_view said) {
    result_ += said;
    at_ += taken.size();
  }

  void escape(bool in_set) {
    constexpr std::string_view kBoth = "dDwWsSbBnrtfvxu";
    if (rest().size() < 2) refuse_end();
    const auto letter = rest()[1];
    if (!in_set && letter == 'A') return take("\\A", "^");
    if (!in_set && letter == 'Z') return take("\\Z", "$");
    if (is_digit(letter)) refuse(rest().substr(0, std::min(end_of_digits(1), kLongestOctal)));
    const bool special = std::isalpha(static_cast<unsigned char>(letter)) != 0;
    if (special && kBoth.find(letter) == kBoth.npos) refuse(rest().substr(0, 2));
    take(2);
  }

  /// A count, whose least number Python may leave out; what begins none is a letter there.
  void brace() {
    const auto least = end_of_digits(1);
    const bool has_comma = rest().substr(least).starts_with(',');
    const auto end = has_comma ? end_of_digits(least + 1) : least;
    const bool is_count = end > 1 && rest().substr(end).starts_with('}');
    if (!is_count) return take("{", "\\{");
    if (least == 1) return take("{,", "{0,");
    take(end + 1);
  }

  /// From "[" to its "]".
  void set() {
    take(rest().starts_with("[^") ? 2 : 1);
    if (rest().starts_with("]")) refuse("[]");
    while (!rest().empty() && rest().front() != ']') {
      for (const std::string_view name : {"[:", "[.", "[="}) {
        if (rest().starts_with(name)) refuse("[" + std::string(name));
      }
      if (rest().front() == '\\') {
        escape(/*in_set=*/true);
      } else {
        take(1);
      }
    }
    if (rest().empty()) refuse_end();
    take(1);
  }

  /// Groups that both have: "(?:", "(?=" and "(?!".
  void group() {
    const auto kind = rest().substr(0, 3);
    if (kind != "(?:" && kind != "(?=" && kind != "(?!") refuse(kind);
    take(3);
  }

  [[noreturn]] void refuse(std::string_view what) const {
    throw Error(
        ErrorKind::kFormat,
        fmt::format("the pattern \"{}\" has \"{}\", which is Python's and is not read here; "
                    "write it without, or name the layers one by one",
                    pattern_, what));
  }

  /// What begins with [ or \ and has no end would take what is put around the pattern for it.
  [[noreturn]] void refuse_end() const {
    throw Error(ErrorKind::kFormat,
                fmt::format("the pattern \"{}\" for layers is no regular expression: its end is "
                            "inside a set [] or behind a backslash",
                            pattern_));
  }

  std::string_view pattern_;
  std::size_t at_ = 0;
  std::string result_;
};

}  // namespace

std::string ecmascript_of_python(const std::string& pattern) { return Translation(pattern).text(); }

}  // namespace mos::concepts
