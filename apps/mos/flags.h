#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "mos/base/describe.h"
#include "mos/base/error.h"
#include "mos/base/schema.h"
#include "mos/base/text_distance.h"

/// `--name value` flags of a command, which says what it takes before any of them is read.
namespace mos::app {

/// What messages call the place of options that flags name.
inline constexpr const char* kOrigin = "the command line";

/// Flags as given: `--name value`, `--name=value`, `--name` alone (a switch), and other words.
class Flags {
 public:
  /// `known` are the options that there are; field names have underscores, flags have dashes.
  /// Throws kUsage naming the first flag that is none of them, with the nearest one, and those that
  /// are given twice or lack their value.
  Flags(int argc, char** argv, Schema known);

  const std::vector<std::string>& words() const { return words_; }
  bool has(const std::string& name) const { return values_.contains(name); }

  /// The values of those of `fields` that were given, as a file of options would have them, and
  /// marks all of them as known here. Throws kUsage for a text that is no such value.
  Json values(const Schema& fields);

  /// The same with the words in the field `of_words`, which has no flag: all of them in a list,
  /// else the first.
  Json values(const Schema& fields, const std::string& of_words);

  /// Overwrites the fields of `options` that flags name.
  template <class Options>
  void read(Options& options) {
    read_options(values(schema_of(options)), kOrigin, options);
  }
  template <class Options>
  void read(Options& options, const std::string& of_words) {
    read_options(values(schema_of(options), of_words), kOrigin, options);
  }

  /// The value of the field `name` as a text, or nothing when it was not given.
  std::optional<std::string> take(const std::string& name);

  /// Throws kUsage naming the first word after the `expected` ones.
  void refuse_words(std::size_t expected = 0) const;

  /// Options whose values a file gave, where no flag goes over them.
  void note_file(const Json& values);

  /// `message` with the options in it as they were given: names with underscores as flags, those
  /// that a file gave as the file has them.
  std::string spelled(std::string message) const;

  /// Throws kUsage naming the first flag that nobody took: a command may have options that belong
  /// to one of its parts alone.
  void refuse_unknown() const;

 private:
  const FieldInfo& known_field(const std::string& name) const;
  void add(const std::string& name, std::optional<std::string> value);

  Schema known_;
  std::map<std::string, std::optional<std::string>> values_;  ///< Nothing: it stands alone.
  std::vector<std::string> words_;
  std::vector<std::string> taken_;
  std::set<std::string> of_file_;  ///< By the names of fields.
};

/// Flags have dashes.
std::string flag_name(std::string field);

/// Splits `text` at commas and blanks behind them; empty parts are none.
std::vector<std::string> split_list(const std::string& text);

/// Throws kUsage where the rules of `field` exclude `value`, or an entry of it. Messages call it
/// `name`.
void check_value(const FieldInfo& field, const std::string& name, const Json& value);

/// One line of help for each field, with its default.
std::string option_help(const Schema& fields);

template <class Options>
std::string flag_help(Options options = {}) {
  return option_help(schema_of(options));
}

}  // namespace mos::app
