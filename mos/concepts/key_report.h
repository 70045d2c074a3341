#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

namespace mos::concepts {

/// What became of every key of a concept file.
struct KeyReport {
  struct Use {
    std::string key;
    std::string target;  ///< `unet/<layer>`, … (layer_target) or the word it belongs to.
  };
  struct Stray {
    std::string key;
    std::string why = "not part of a concept";
  };
  std::vector<Use> matched;
  std::vector<std::string> missing;  ///< Keys that the file should have beside those it has.
  std::vector<Stray> unexpected;     ///< Keys that nothing is done with, and why.
  std::vector<std::string> wrong;    ///< Keys with a tensor of a wrong shape, and why.
  /// Keys of networks or model families that we do not apply, by what they are.
  std::map<std::string, std::vector<std::string>> foreign;

  /// "264 keys matched, 0 missing, 0 unexpected".
  std::string summary() const;
  /// Every key on a line of its own, with what became of it.
  std::string listing() const;
  void tell_listing() const;  ///< Each line of it through log::info.

  /// Moves the keys of these targets from matched to unexpected: the base model has no such layers.
  /// All at once, as a file can have as many layers as keys.
  void reject(const std::set<std::string>& targets);
  /// Moves the keys of each target to wrong, because of the reason that it has here.
  void misfit(const std::map<std::string, std::string>& reasons);

  /// Whether every key has its place.
  bool all_matched() const {
    return missing.empty() && unexpected.empty() && wrong.empty() && foreign.empty();
  }

 private:
  template <typename Targets>
  std::vector<Use> take_matched(const Targets& targets);
};

/// What shall happen to keys that mean nothing to us.
enum class UnexpectedKeys { kRefuse, kLeaveOut };

/// Throws mos::Error(kMismatch) naming `origin` and keys that are missing or wrong, the kind of
/// network if it is one that we do not apply, and unexpected keys. kLeaveOut: unexpected keys and
/// those of other networks are left out with a warning, as long as anything else is there.
void check_keys(const KeyReport& report, const std::string& origin, UnexpectedKeys unexpected);

}  // namespace mos::concepts
