#pragma once

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include "mos/base/error.h"
#include "mos/base/text_distance.h"

/// `--name value` flags of a command, checked against the options structs that it has.
namespace mos::app {

/// Flags as given: `--name value`, `--name=value`, `--name` alone (a switch), and other words.
class Flags {
 public:
  Flags(int argc, char** argv);

  const std::vector<std::string>& words() const { return words_; }
  bool has(const std::string& name) const { return values_.contains(name); }

  /// The value of `name` and marks it as known; nothing when it was not given. Throws kUsage when
  /// it was given without a value.
  std::optional<std::string> take(const std::string& name);

  /// The same for what may stand alone, which is the value "".
  std::optional<std::string> take_bare(const std::string& name);

  /// The value of `name` as a path. Throws kUsage for an empty one.
  std::optional<std::filesystem::path> take_path(const std::string& name);

  /// Whether the switch `name` was given and is not off. A switch that reads no word behind it must
  /// be in the list of flags.cpp. Throws kUsage for a value that is neither on nor off.
  bool take_switch(const std::string& name);

  /// Throws kUsage naming the first word after the `expected` ones.
  void refuse_words(std::size_t expected = 0) const;

  /// Throws kUsage naming the first flag that nobody took, with the nearest known one.
  void refuse_unknown() const;

 private:
  std::map<std::string, std::optional<std::string>> values_;  ///< Nothing: it stands alone.
  std::vector<std::string> words_;
  std::vector<std::string> known_;
};

namespace detail {

[[noreturn]] void throw_bad_value(const std::string& name, const std::string& text,
                                  const char* expected);
std::int64_t parse_integer(const std::string& name, const std::string& text);
double parse_number(const std::string& name, const std::string& text);
bool parse_switch(const std::string& name, const std::string& text);
std::vector<std::string> split_list(const std::string& text);
/// The same for paths, of which each may end in =VALUE: a comma in the name of a file or folder
/// that is there separates nothing.
std::vector<std::string> split_paths(const std::string& text);

template <typename T>
void parse_value(const std::string& name, const std::string& text, T& field) {
  if constexpr (std::is_same_v<T, bool>) {
    field = parse_switch(name, text);
  } else if constexpr (std::is_integral_v<T>) {
    const auto value = parse_integer(name, text);
    if (std::is_unsigned_v<T> && value < 0) throw_bad_value(name, text, "0 or a larger number");
    field = static_cast<T>(value);
  } else if constexpr (std::is_floating_point_v<T>) {
    field = static_cast<T>(parse_number(name, text));
  } else {
    field = text;
  }
}

template <typename T>
void parse_value(const std::string& name, const std::string& text, std::optional<T>& field) {
  T value{};
  parse_value(name, text, value);
  field = value;
}

template <typename T>
void parse_value(const std::string& name, const std::string& text, std::vector<T>& field) {
  field.clear();
  for (const auto& part : split_list(text)) {
    T value{};
    parse_value(name, part, value);
    field.push_back(value);
  }
}

/// Field names have underscores, flags have dashes.
std::string flag_name(std::string field);

}  // namespace detail

/// Visitor of describe(): sets the fields whose flags were given.
class FlagReader {
 public:
  explicit FlagReader(Flags& flags) : flags_(flags) {}

  template <typename T>
  void operator()(const std::string& name, T& field, const std::string& /*help*/) {
    const auto flag = detail::flag_name(name);
    const auto text = std::is_same_v<T, bool> ? flags_.take_bare(flag) : flags_.take(flag);
    if (!text) return;
    detail::parse_value(flag, *text, field);
  }

 private:
  Flags& flags_;
};

/// Visitor of describe(): one line of help for each field, with its default.
class FlagHelp {
 public:
  template <typename T>
  void operator()(const std::string& name, const T& field, const std::string& help) {
    text_ += fmt::format("  --{:<22} {} [{}]\n", detail::flag_name(name), help, shown(field));
  }
  const std::string& text() const { return text_; }

 private:
  template <typename T>
  static std::string shown(const T& value) {
    return fmt::format("{}", value);
  }
  template <typename T>
  static std::string shown(const std::optional<T>& value) {
    return value ? shown(*value) : "";
  }
  template <typename T>
  static std::string shown(const std::vector<T>& value) {
    return fmt::format("{}", fmt::join(value, ","));
  }

  std::string text_;
};

/// Overwrites the fields of `options` that flags name.
template <class Options>
void read_flags(Flags& flags, Options& options) {
  FlagReader reader(flags);
  describe(reader, options);
}

template <class Options>
std::string flag_help() {
  Options options;
  FlagHelp help;
  describe(help, options);
  return help.text();
}

}  // namespace mos::app
