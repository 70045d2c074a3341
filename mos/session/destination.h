#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "mos/base/outputs.h"

namespace mos::session {

/// Where the pictures of one order go.
class Destination {
 public:
  /// `out` is a file when it ends in .png (in any case), else a folder. Throws kUsage for other
  /// endings.
  Destination(const std::filesystem::path& out, bool several);

  std::filesystem::path path(std::uint64_t seed) const;

  /// Names the pictures of `count` seeds from `first` on, and their records, as outputs.
  void announce(Outputs& outputs, std::uint64_t first, std::int64_t count) const;

  /// The folder appears with its first picture.
  void make_folder() const;

 private:
  std::filesystem::path folder_;
  std::string stem_, ending_;
  bool numbered_ = false;
};

}  // namespace mos::session
