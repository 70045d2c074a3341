#include "mos/base/yaml.h"

#include <fmt/core.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <array>
#include <sstream>

#include "mos/base/error.h"
#include "mos/base/json_builder.h"
#include "mos/base/text.h"

namespace mos {
namespace {

[[noreturn]] void fail(const std::string& origin, const YAML::Mark& mark,
                       const std::string& reason) {
  const auto line = mark.is_null() ? std::string() : fmt::format(", line {}", mark.line + 1);
  throw Error(ErrorKind::kFormat, fmt::format("cannot read {}{}: {}", origin, line, reason));
}

/// A scalar without quotes by the core schema of YAML 1.2 (section 10.3.2); octal and hexadecimal
/// numbers stay text.
Json plain_value(const std::string& text) {
  constexpr auto kNull = std::to_array<std::string_view>({"", "~", "null", "Null", "NULL"});
  constexpr auto kTrue = std::to_array<std::string_view>({"true", "True", "TRUE"});
  constexpr auto kFalse = std::to_array<std::string_view>({"false", "False", "FALSE"});
  const auto is_one_of = [&text](const auto& list) {
    return std::find(list.begin(), list.end(), text) != list.end();
  };
  if (is_one_of(kNull)) return nullptr;
  if (is_one_of(kTrue)) return true;
  if (is_one_of(kFalse)) return false;
  auto number = std::string_view(text);
  if (number.size() > 1 && number[0] == '+' && number[1] != '-') number.remove_prefix(1);
  if (const auto whole = number_in<std::int64_t>(number)) return *whole;
  if (const auto real = number_in<double>(number)) return *real;
  return text;
}

class YamlEvents : public YAML::EventHandler {
 public:
  explicit YamlEvents(const std::string& origin) : origin_(origin), builder_(origin) {}

  Json take() { return builder_.take(); }

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (++documents_ > 1) fail(origin_, mark, "it holds several documents, expected one");
  }
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t /*anchor*/) override {
    if (wants_key()) fail(origin_, mark, "a key is missing");
    add(nullptr);
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t /*anchor*/) override {
    fail(origin_, mark, "aliases (*name) are not read; write the value in their place");
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t /*anchor*/,
                const std::string& value) override {
    check_tag(mark, tag);
    // yaml-cpp guesses UTF-16 and UTF-32 from the first bytes, and then makes what it may of them.
    if (!is_utf8(value)) fail(origin_, mark, "a text is not UTF-8");
    if (wants_key()) {
      builder_.key(value);
      has_key_ = true;
      return;
    }
    const bool in_quotes = tag == kQuoted;
    add(in_quotes ? Json(value) : plain_value(value));
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t /*anchor*/,
                       YAML::EmitterStyle::value /*style*/) override {
    check_container(mark, tag);
    builder_.open_array();
  }
  void OnSequenceEnd() override { builder_.close(); }

  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t /*anchor*/,
                  YAML::EmitterStyle::value /*style*/) override {
    check_container(mark, tag);
    builder_.open_object();
  }
  void OnMapEnd() override { builder_.close(); }

 private:
  static constexpr std::string_view kPlain = "?";   // yaml-cpp's tag where the text has none
  static constexpr std::string_view kQuoted = "!";  // and for a scalar in quotes

  bool wants_key() const { return builder_.in_object() && !has_key_; }

  void check_tag(const YAML::Mark& mark, const std::string& tag) const {
    if (tag.empty() || tag == kPlain || tag == kQuoted) return;
    fail(origin_, mark, fmt::format("the tag {} is not read", printable(tag)));
  }

  void check_container(const YAML::Mark& mark, const std::string& tag) {
    check_tag(mark, tag);
    if (wants_key()) fail(origin_, mark, "a key is a list or a mapping, expected a text");
    has_key_ = false;
  }

  void add(Json value) {
    builder_.add(std::move(value));
    has_key_ = false;
  }

  const std::string& origin_;
  JsonBuilder builder_;
  bool has_key_ = false;  ///< The value of a key comes next.
  int documents_ = 0;
};

}  // namespace

Json parse_yaml(std::string_view text, const std::string& origin) {
  const auto nowhere = YAML::Mark::null_mark();
  if (text.size() > kMaxYamlBytes) {
    fail(origin, nowhere,
         fmt::format("it has {} bytes, more than the {} that YAML may have here", text.size(),
                     kMaxYamlBytes));
  }
  if (!is_utf8(text)) fail(origin, nowhere, "it is not UTF-8");
  std::istringstream stream{std::string(text)};
  YamlEvents events(origin);
  try {
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(events)) continue;
  } catch (const YAML::Exception& error) {
    fail(origin, error.mark, error.msg);
  }
  return events.take();
}

}  // namespace mos
