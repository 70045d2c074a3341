#pragma once

#include <map>
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

  /// Moves the keys of `target` from matched to unexpected: the base model has no such layer.
  void reject(const std::string& target);
  /// Moves them to wrong, because of `reason`.
  void misfit(const std::string& target, const std::string& reason);

  /// Whether every key has its place.
  bool all_matched() const {
    return missing.empty() && unexpected.empty() && wrong.empty() && foreign.empty();
  }

 private:
  std::vector<std::string> take_matched(const std::string& target);
};

/// What shall happen to keys that mean nothing to us.
enum class UnexpectedKeys { kRefuse, kLeaveOut };

/// Throws mos::Error(kMismatch) naming `origin` and keys that are missing or wrong, the kind of
/// network if it is one that we do not apply, and unexpected keys. kLeaveOut: unexpected keys and
/// those of other networks are left out with a warning, as long as anything else is there.
void check_keys(const KeyReport& report, const std::string& origin, UnexpectedKeys unexpected);

}  // namespace mos::concepts
