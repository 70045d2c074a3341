#pragma once

#include <string>

#include "flags.h"
#include "mos/base/schema.h"
#include "terminal.h"

namespace mos::app {

/// One subcommand of `mos`. What it takes is known before anything is parsed.
struct Command {
  const char* name;
  const char* summary;
  /// The options: of its job, and those that only a command line has.
  Schema (*options)();
  std::string (*help)();
  /// Returns the exit code; reports failures by throwing mos::Error.
  int (*run)(Flags& flags, const Terminal& terminal);
  /// What the command does when it is given nothing at all: its work, or as with --help.
  enum class Alone { kRuns, kHelps } alone = Alone::kHelps;
  /// The help of one of its parts, which the first word names; null: it has none.
  std::string (*help_of)(const std::string& part) = nullptr;
  /// The field that words without a flag fill; it has no flag.
  const char* words = nullptr;
};

extern const Command kCondition, kConvert, kDemo, kEvaluate, kFuse, kInitRandom, kInspect,
    kPretrain, kSample, kStudy, kTune, kWorld;

/// Options of a command that takes a file of them, too.
struct GivenOptions {
  Json values;         ///< As the file has them, which may be no object; flags go over it.
  std::string origin;  ///< What messages call the place that they are from.
};

/// Those of `fields` that flags name, over the JSON file `config`, if there is one.
GivenOptions given_options(Flags& flags, const std::string& config, const Schema& fields);

/// The schema of several structs, one after the other; a field that comes again counts once.
template <class... Options>
Schema options_of() {
  Schema fields;
  (add_fields(fields, schema_of<Options>()), ...);
  return fields;
}

/// `fields` as those that only a command line has, and no file of options.
Schema flags_only(Schema fields);

/// `fields` without the one called `name`.
Schema without(Schema fields, const std::string& name);

}  // namespace mos::app
