#include "mos/base/yaml.h"

#include <fmt/format.h>

#include <charconv>
#include <vector>

#include "mos/base/error.h"

namespace mos {
namespace {

struct Line {
  std::size_t number = 0;
  std::size_t indent = 0;
  std::string_view text;
};

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\r')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\r')) text.remove_suffix(1);
  return text;
}

/// Cuts a comment off: a # at the start or behind a space, outside of quotes.
std::string_view without_comment(std::string_view text) {
  char quote = '\0';
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quote != '\0') {
      if (c == quote) quote = '\0';
    } else if (c == '"' || c == '\'') {
      quote = c;
    } else if (c == '#' && (i == 0 || text[i - 1] == ' ')) {
      return text.substr(0, i);
    }
  }
  return text;
}

class YamlReader {
 public:
  YamlReader(std::string_view text, const std::string& origin) : origin_(origin) {
    std::size_t number = 0;
    while (!text.empty()) {
      const auto whole = text.substr(0, text.find('\n'));
      text.remove_prefix(std::min(text.size(), whole.size() + 1));
      ++number;
      const auto content = without_comment(whole);
      const auto start = content.find_first_not_of(' ');
      if (trimmed(content).empty()) continue;
      lines_.push_back({number, start, trimmed(content)});
      if (content[start] == '\t') fail(lines_.back(), "it is indented with a tab");
    }
    if (!lines_.empty() && lines_.front().text == "---") next_ = 1;
  }

  Json read() {
    if (next_ == lines_.size()) return nullptr;
    auto value = block(lines_[next_].indent);
    if (next_ != lines_.size()) fail(lines_[next_], "its indentation fits nothing above");
    return value;
  }

 private:
  [[noreturn]] void fail(const Line& line, const std::string& reason) const {
    throw Error(ErrorKind::kFormat,
                fmt::format("cannot read {}, line {}: {}", origin_, line.number, reason));
  }

  static bool is_item(const Line& line) { return line.text == "-" || line.text.starts_with("- "); }

  /// The lines from here on that have this indentation, and what is below them.
  Json block(std::size_t indent) {
    const bool list = is_item(lines_[next_]);
    Json value = list ? Json::array() : Json::object();
    while (next_ < lines_.size() && lines_[next_].indent == indent &&
           is_item(lines_[next_]) == list) {
      if (list) {
        value.push_back(item());
      } else {
        entry(value);
      }
    }
    return value;
  }

  /// "- value" or "- key: value", whose other keys stand below the first one.
  Json item() {
    auto& line = lines_[next_];
    const auto rest = trimmed(line.text.substr(1));
    if (rest.empty()) {
      ++next_;
      return below(line.indent + 1);
    }
    if (key_end(rest) == std::string_view::npos) {
      ++next_;
      return scalar(rest, line);
    }
    line.indent += line.text.size() - rest.size();
    line.text = rest;
    return block(line.indent);
  }

  void entry(Json& object) {
    const auto line = lines_[next_++];
    const auto end = key_end(line.text);
    if (end == std::string_view::npos) fail(line, "expected \"key: value\"");
    const auto key = scalar_text(line.text.substr(0, end));
    const auto rest = trimmed(line.text.substr(end + 1));
    if (object.contains(key)) fail(line, fmt::format("\"{}\" stands there twice", key));
    // Lists may stand as far left as their key.
    const bool list_here =
        next_ < lines_.size() && lines_[next_].indent == line.indent && is_item(lines_[next_]);
    object[key] = rest.empty() ? below(line.indent + (list_here ? 0 : 1)) : scalar(rest, line);
  }

  Json below(std::size_t least_indent) {
    if (next_ == lines_.size() || lines_[next_].indent < least_indent) return nullptr;
    return block(lines_[next_].indent);
  }

  static std::size_t key_end(std::string_view text) {
    char quote = '\0';
    for (std::size_t i = 0; i < text.size(); ++i) {
      const char c = text[i];
      if (quote != '\0') {
        if (c == quote) quote = '\0';
      } else if ((c == '"' || c == '\'') && i == 0) {
        quote = c;
      } else if (c == ':' && (i + 1 == text.size() || text[i + 1] == ' ')) {
        return i;
      }
    }
    return std::string_view::npos;
  }

  static std::string scalar_text(std::string_view text) {
    const bool quoted = text.size() >= 2 && text.front() == text.back() &&
                        (text.front() == '"' || text.front() == '\'');
    return std::string(quoted ? text.substr(1, text.size() - 2) : text);
  }

  Json scalar(std::string_view text, const Line& line) const {
    if (text.front() == '"' || text.front() == '\'') return scalar_text(text);
    if (text.front() == '[') return bracketed(text, line);
    if (text.find_first_of("&*!|>{%@`") == 0) {
      if (text == "{}") return Json::object();
      fail(line, fmt::format("a value that starts with {} is not read here", text.front()));
    }
    if (text == "null" || text == "~") return nullptr;
    if (text == "true" || text == "True") return true;
    if (text == "false" || text == "False") return false;
    const auto* end = text.data() + text.size();
    std::int64_t whole = 0;
    if (std::from_chars(text.data(), end, whole).ptr == end) return whole;
    double number = 0;
    if (std::from_chars(text.data(), end, number).ptr == end) return number;
    return std::string(text);
  }

  Json bracketed(std::string_view text, const Line& line) const {
    if (text.back() != ']') fail(line, "a list in brackets must end on its line");
    Json list = Json::array();
    auto rest = text.substr(1, text.size() - 2);
    while (!trimmed(rest).empty()) {
      const auto comma = std::min(rest.find(','), rest.size());
      const auto value = trimmed(rest.substr(0, comma));
      if (value.empty() || value.front() == '[') fail(line, "its list is none that is read here");
      list.push_back(scalar(value, line));
      rest.remove_prefix(std::min(rest.size(), comma + 1));
    }
    return list;
  }

  const std::string& origin_;
  std::vector<Line> lines_;
  std::size_t next_ = 0;
};

}  // namespace

Json parse_yaml(std::string_view text, const std::string& origin) {
  return YamlReader(text, origin).read();
}

}  // namespace mos
