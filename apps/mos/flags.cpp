#include "flags.h"

#include <algorithm>
#include <array>
#include <span>
#include <string_view>
#include <system_error>

#include "mos/base/text.h"

namespace mos::app {

namespace {

/// Flags that stand alone: the word behind one is a value only if it is on or off.
constexpr auto kSwitches = std::to_array<std::string_view>(
    {"allow-unexpected", "check", "dry-run", "ema", "fresh", "guess-mode", "help", "json",
     "list-keys", "list-schedulers", "mean-rows", "overwrite", "plain-text", "zero-snr"});
constexpr std::array<std::string_view, 6> kSwitchValues = {"true", "on", "1", "false", "off", "0"};

bool contains(std::span<const std::string_view> list, std::string_view text) {
  return std::find(list.begin(), list.end(), text) != list.end();
}

/// Whether `text`, or what stands before a value at its end, is something in the file system.
bool is_there(const std::string& text) {
  std::error_code ignored;
  if (std::filesystem::exists(text, ignored)) return true;
  const auto equals = text.rfind('=');
  return equals != text.npos && text.find(',', equals) == text.npos &&
         std::filesystem::exists(text.substr(0, equals), ignored);
}

/// Whether `next` is the value of the flag `name`.
bool is_value(const std::string& name, std::string_view next) {
  if (next.starts_with("--")) return false;
  return !contains(kSwitches, name) || contains(kSwitchValues, next);
}

}  // namespace

Flags::Flags(int argc, char** argv) {
  for (const char* argument : std::span(argv, static_cast<std::size_t>(argc))) {
    if (is_utf8(argument)) continue;
    throw Error(ErrorKind::kUsage,
                fmt::format("\"{}\" is not UTF-8; rename the file, or write the text in UTF-8",
                            printable(argument)));
  }
  for (int i = 0; i < argc; ++i) {
    const std::string argument = argv[i];
    if (!argument.starts_with("--")) {
      words_.push_back(argument);
      continue;
    }
    auto name = argument.substr(2);
    std::optional<std::string> value;
    if (const auto equals = name.find('='); equals != std::string::npos) {
      value = name.substr(equals + 1);
      name.resize(equals);
    } else if (i + 1 < argc && is_value(name, argv[i + 1])) {
      value = argv[++i];
    }
    if (!values_.emplace(name, value).second) {
      throw Error(ErrorKind::kUsage, fmt::format("the option --{} was given twice", name));
    }
  }
}

std::optional<std::string> Flags::take(const std::string& name) {
  const auto found = values_.find(name);
  if (found != values_.end() && !found->second) {
    throw Error(ErrorKind::kUsage, fmt::format("--{} needs a value", name));
  }
  return take_bare(name);
}

std::optional<std::string> Flags::take_bare(const std::string& name) {
  known_.push_back(name);
  const auto found = values_.find(name);
  if (found == values_.end()) return std::nullopt;
  return found->second.value_or("");
}

std::optional<std::filesystem::path> Flags::take_path(const std::string& name) {
  const auto text = take(name);
  if (!text) return std::nullopt;
  if (text->empty()) throw Error(ErrorKind::kUsage, fmt::format("--{} needs a path", name));
  return std::filesystem::path(*text);
}

bool Flags::take_switch(const std::string& name) {
  const auto text = take_bare(name);
  return text && detail::parse_switch(name, *text);
}

void Flags::refuse_words(std::size_t expected) const {
  if (words_.size() <= expected) return;
  throw Error(ErrorKind::kUsage, fmt::format("\"{}\" belongs to no option; put texts with blanks "
                                             "in quotes",
                                             words_[expected]));
}

void Flags::refuse_unknown() const {
  for (const auto& [name, value] : values_) {
    if (std::find(known_.begin(), known_.end(), name) != known_.end()) continue;
    throw Error(ErrorKind::kUsage,
                fmt::format("unknown option --{}{}", name, did_you_mean(name, known_)));
  }
}

namespace detail {

void throw_bad_value(const std::string& name, const std::string& text, const char* expected) {
  throw Error(ErrorKind::kUsage,
              fmt::format("--{} got \"{}\", but expects {}", name, text, expected));
}

std::int64_t parse_integer(const std::string& name, const std::string& text) {
  const auto value = number_in<std::int64_t>(text);
  if (!value) throw_bad_value(name, text, "a whole number");
  return *value;
}

double parse_number(const std::string& name, const std::string& text) {
  const auto value = number_in<double>(text);
  if (!value) throw_bad_value(name, text, "a number");
  return *value;
}

bool parse_switch(const std::string& name, const std::string& text) {
  if (text.empty() || text == "true" || text == "on" || text == "1") return true;
  if (text == "false" || text == "off" || text == "0") return false;
  throw_bad_value(name, text, "true or false");
}

std::vector<std::string> split_list(const std::string& text) {
  std::vector<std::string> parts;
  for (std::size_t begin = 0; begin <= text.size();) {
    const auto comma = std::min(text.find(',', begin), text.size());
    const auto first = std::min(text.find_first_not_of(' ', begin), comma);
    if (comma > first) parts.push_back(text.substr(first, comma - first));
    begin = comma + 1;
  }
  return parts;
}

std::vector<std::string> split_paths(const std::string& text) {
  std::vector<std::string> paths;
  for (std::size_t begin = 0; begin < text.size();) {
    auto end = text.size();  // the longest name that is there, else up to the next comma
    while (!is_there(trimmed(text.substr(begin, end - begin)))) {
      const auto before = end > begin ? text.rfind(',', end - 1) : text.npos;
      if (before == text.npos || before < begin) break;
      end = before;
    }
    auto path = trimmed(text.substr(begin, end - begin));
    if (!path.empty()) paths.push_back(std::move(path));
    begin = end + 1;
  }
  return paths;
}

std::string flag_name(std::string field) {
  std::replace(field.begin(), field.end(), '_', '-');
  return field;
}

}  // namespace detail
}  // namespace mos::app
