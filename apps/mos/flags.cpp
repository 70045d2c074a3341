#include "flags.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <limits>
#include <span>
#include <string_view>
#include <system_error>
#include <utility>

#include "mos/base/text.h"

namespace mos::app {

namespace {

constexpr std::array<std::string_view, 6> kSwitchValues = {"true", "on", "1", "false", "off", "0"};

/// Whether `text`, or what stands before a value at its end, is something in the file system.
bool is_there(const std::string& text) {
  std::error_code ignored;
  if (std::filesystem::exists(text, ignored)) return true;
  const auto equals = text.rfind('=');
  return equals != text.npos && text.find(',', equals) == text.npos &&
         std::filesystem::exists(text.substr(0, equals), ignored);
}

/// Whether `next` is the value of `field`: a switch stands alone, but for on and off and what else
/// it says it takes.
bool is_value(const FieldInfo& field, std::string_view next) {
  if (next.starts_with("--")) return false;
  if (field.type != FieldType::kSwitch) return true;
  const auto& more = field.rules.choices;
  return std::ranges::find(kSwitchValues, next) != kSwitchValues.end() ||
         std::ranges::find(more, next) != more.end();
}

[[noreturn]] void throw_bad_value(const std::string& flag, const std::string& text,
                                  const std::string& expected) {
  throw Error(ErrorKind::kUsage,
              fmt::format("--{} got \"{}\", but expects {}", flag, text, expected));
}

/// Whether `text` is a number, were it not for its size.
bool is_whole(std::string_view text) {
  if (text.starts_with('-')) text.remove_prefix(1);
  return !text.empty() && text.find_first_not_of("0123456789") == text.npos;
}

/// "a whole number", with the range of `field` for a `text` that is one beyond it.
std::string whole_number(const FieldInfo& field, const std::string& text) {
  if (!is_whole(text)) return "a whole number";
  using Limits = std::numeric_limits<std::int64_t>;
  const auto within = [](std::optional<double> bound, std::int64_t otherwise) {
    return bound ? static_cast<std::int64_t>(*bound) : otherwise;
  };
  const auto least = field.type == FieldType::kCount ? 0 : Limits::min();
  return fmt::format("a whole number from {} to {}", within(field.rules.least, least),
                     within(field.rules.most, Limits::max()));
}

std::int64_t parse_whole(const FieldInfo& field, const std::string& flag, const std::string& text) {
  const auto value = number_in<std::int64_t>(text);
  if (!value) throw_bad_value(flag, text, whole_number(field, text));
  return *value;
}

double parse_number(const std::string& flag, const std::string& text) {
  const auto value = number_in<double>(text);
  if (!value) throw_bad_value(flag, text, "a number");
  return *value;
}

bool parse_switch(const std::string& flag, const std::string& text) {
  if (text.empty() || text == "true" || text == "on" || text == "1") return true;
  if (text == "false" || text == "off" || text == "0") return false;
  throw_bad_value(flag, text, "true or false");
}

/// The same for paths, of which each may end in =VALUE: a comma in the name of a file or folder
/// that is there separates nothing.
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

std::int64_t parse_count(const FieldInfo& field, const std::string& flag, const std::string& text) {
  const auto value = parse_whole(field, flag, text);
  if (value < 0 && flag.ends_with("seed")) {
    throw_bad_value(
        flag, text,
        "0 or a larger number: no seed is drawn by chance, so that every picture can be "
        "made again");
  }
  if (value < 0) throw_bad_value(flag, text, "0 or a larger number");
  return value;
}

/// One value, or one entry of a list.
Json parse_value(const FieldInfo& field, const std::string& text) {
  const auto flag = flag_name(field.name);
  switch (field.type) {
    case FieldType::kSwitch:
      return parse_switch(flag, text);
    case FieldType::kInteger:
      return parse_whole(field, flag, text);
    case FieldType::kCount:
      return parse_count(field, flag, text);
    case FieldType::kNumber:
      return parse_number(flag, text);
    case FieldType::kText:
      break;
  }
  if (field.rules.is_path && text.empty()) {
    throw Error(ErrorKind::kUsage, fmt::format("--{} needs a path", flag));
  }
  return text;
}

/// A value as it would be given.
std::string shown(const Json& value) {
  if (value.is_null()) return "";
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number_float()) return fmt::format("{}", value.get<double>());
  if (!value.is_array()) return value.dump();
  std::vector<std::string> parts;
  for (const auto& entry : value) parts.push_back(shown(entry));
  return fmt::format("{}", fmt::join(parts, ","));
}

Json parse_field(const FieldInfo& field, const std::string& text) {
  if (!field.is_list) return parse_value(field, text);
  Json value = Json::array();
  for (const auto& part : field.rules.is_path ? split_paths(text) : split_list(text)) {
    value.push_back(parse_value(field, part));
  }
  if (value.empty() && field.rules.is_path) parse_value(field, "");  // throws
  return value;
}

/// "; did you mean '--x'?" of the names of flags, or where they all are.
std::string nearest_flag(const std::string& name, const std::vector<std::string>& flags) {
  const auto found = nearest(name, flags);
  return found.empty() ? "; --help shows all" : fmt::format("; did you mean '--{}'?", found);
}

/// Puts `to` where `from` stands in `message` as a word that nobody quotes.
void replace_word(std::string& message, const std::string& from, const std::string& to) {
  const auto is_part = [&message](std::size_t at) {
    const auto c = at < message.size() ? message[at] : ' ';
    return std::isalnum(static_cast<unsigned char>(c)) != 0 ||
           std::string_view("_-\"'/").find(c) != std::string_view::npos;
  };
  const auto ends = [&](std::size_t at) {  // a sentence's full stop, but no ending of a file
    return !is_part(at) && !(at < message.size() && message[at] == '.' && is_part(at + 1));
  };
  for (auto at = message.find(from); at != message.npos; at = message.find(from, at + 1)) {
    const bool begins = at == 0 || (!is_part(at - 1) && message[at - 1] != '.');
    if (!begins || !ends(at + from.size())) continue;
    message.replace(at, from.size(), to);
    at += to.size() - 1;
  }
}

/// What was probably meant by a word that no option takes.
std::string hint_for_stray(const std::string& word) {
  constexpr std::array kSwitchWords = {"no", "yes", "on", "off", "true", "false", "True", "False"};
  if (std::ranges::find(kSwitchWords, word) != kSwitchWords.end()) {
    return "; a switch takes its value behind =, as in --overwrite=false";
  }
  return "; put texts with blanks in quotes, and commas between several values of one option";
}

}  // namespace

Flags::Flags(int argc, char** argv, Schema known) : known_(std::move(known)) {
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
    const auto equals = argument.find('=');
    const auto name = argument.substr(2, equals == argument.npos ? argument.npos : equals - 2);
    const auto& field = known_field(name);
    if (equals != std::string::npos) {
      add(name, argument.substr(equals + 1));
    } else if (i + 1 < argc && is_value(field, argv[i + 1])) {
      add(name, argv[++i]);
    } else {
      add(name, std::nullopt);
    }
  }
}

const FieldInfo& Flags::known_field(const std::string& name) const {
  std::vector<std::string> names;
  for (const auto& field : known_) {
    names.push_back(flag_name(field.name));
    if (names.back() == name) return field;
  }
  throw Error(ErrorKind::kUsage,
              fmt::format("unknown option --{}{}", printable(name), nearest_flag(name, names)));
}

void Flags::add(const std::string& name, std::optional<std::string> value) {
  if (!value && known_field(name).type != FieldType::kSwitch) {
    throw Error(ErrorKind::kUsage, fmt::format("--{} needs a value", name));
  }
  if (!values_.emplace(name, std::move(value)).second) {
    throw Error(ErrorKind::kUsage,
                fmt::format("the option --{} was given twice{}", name,
                            known_field(name).is_list ? "; several values stand in one, with "
                                                        "commas between them"
                                                      : ""));
  }
}

Json Flags::values(const Schema& fields) {
  Json values = Json::object();
  for (const auto& field : fields) {
    const auto text = take(field.name);
    if (!text) continue;
    values[field.name] = parse_field(field, *text);
    check_value(field, "--" + flag_name(field.name), values[field.name]);
  }
  return values;
}

Json Flags::values(const Schema& fields, const std::string& of_words) {
  const auto is_words = [&](const FieldInfo& field) { return field.name == of_words; };
  auto flagged = fields;
  std::erase_if(flagged, is_words);
  auto given = values(flagged);
  if (words_.empty()) return given;
  const bool is_list = std::ranges::find_if(fields, is_words)->is_list;
  given[of_words] = is_list ? Json(words_) : Json(words_.front());
  return given;
}

std::optional<std::string> Flags::take(const std::string& name) {
  const auto flag = flag_name(name);
  taken_.push_back(flag);
  const auto found = values_.find(flag);
  if (found == values_.end()) return std::nullopt;
  return found->second.value_or("");
}

void Flags::refuse_words(std::size_t expected) const {
  if (words_.size() <= expected) return;
  const auto& word = words_[expected];
  throw Error(ErrorKind::kUsage,
              fmt::format("\"{}\" belongs to no option{}", word,
                          expected == 0 ? hint_for_stray(word)
                                        : fmt::format(": {} is taken here", expected)));
}

void Flags::refuse_unknown() const {
  for (const auto& [name, value] : values_) {
    if (std::ranges::find(taken_, name) != taken_.end()) continue;
    throw Error(ErrorKind::kUsage,
                fmt::format("unknown option --{}{}", name, nearest_flag(name, taken_)));
  }
}

void Flags::note_file(const Json& values) {
  for (const auto& [name, value] : values.items()) {
    if (!has(flag_name(name))) of_file_.insert(name);
  }
}

std::string Flags::spelled(std::string message) const {
  for (const auto& field : known_) {
    const auto flag = "--" + flag_name(field.name);
    if (of_file_.contains(field.name)) {
      replace_word(message, flag, field.name);
      continue;
    }
    const auto quoted = fmt::format("\"{}\" ", field.name);
    if (has(flag_name(field.name)) && message.starts_with(quoted)) {
      message.replace(0, quoted.size() - 1, flag);
    }
    // A name of one word may be that word.
    if (field.name.find('_') != field.name.npos) replace_word(message, field.name, flag);
  }
  return message;
}

std::string flag_name(std::string field) {
  std::replace(field.begin(), field.end(), '_', '-');
  return field;
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

void check_value(const FieldInfo& field, const std::string& name, const Json& value) {
  if (value.is_array() && field.is_list) {  // else whoever reads it says what its type should be
    for (const auto& entry : value) check_value(field, name, entry);
  } else if (value.is_number()) {
    check_number(name, value.get<double>(), shown(value), field.rules);
  } else if (value.is_string() && !field.rules.choices.empty()) {
    check_choice(name, value.get<std::string>(), field.rules.choices);
  }
}

std::string option_help(const Schema& fields) {
  std::string text;
  for (const auto& field : fields) {
    const auto fallback = shown(field.fallback);
    text += fmt::format("  --{:<22} {}{}\n", flag_name(field.name), field.help,
                        fallback.empty() ? "" : fmt::format(" [{}]", fallback));
  }
  return text;
}

}  // namespace mos::app
