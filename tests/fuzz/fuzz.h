#pragma once

#include <cstdint>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

/// Every reader of this program against inputs that somebody bent. A target takes any bytes; what
/// it may throw is mos::Error, whose message is for the user. Anything else is a finding: another
/// exception, what a sanitizer says, a promise that does not hold (Broken), much time or memory.
namespace mos::fuzz {

/// A promise of a reader that does not hold for the input.
class Broken : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

/// Throws Broken(promise) unless `holds`.
inline void promise(bool holds, const std::string& what) {
  if (!holds) throw Broken(what);
}

struct Target {
  const char* name;
  void (*run)(std::string_view bytes);
  /// Inputs that are as they should be, to begin with; more lie in corpus/<name>/.
  std::vector<std::string> (*seeds)();
  /// What inputs of this kind are made of.
  std::vector<std::string> words;
  /// Puts the lengths and checksums right that a mutation breaks, so that what is behind them is
  /// reached; nullptr: there are none.
  std::string (*repair)(const std::string& bytes) = nullptr;
};

/// All targets; each file *_targets.cpp has some.
std::vector<Target> all_targets();
std::vector<Target> file_targets();
std::vector<Target> concept_targets();
std::vector<Target> text_targets();
std::vector<Target> settings_targets();
std::vector<Target> prompt_targets();
std::vector<Target> studio_targets();  ///< None where the studio is not built.

/// A folder of this process in memory if there is such a file system, gone at its end.
const std::filesystem::path& scratch_folder();

/// The same file for every input: bytes under `name` in the scratch folder.
std::filesystem::path scratch_file(const std::string& name, std::string_view bytes);

}  // namespace mos::fuzz
