#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace mos::app {

/// Where the pictures of one call of `mos sample` go.
class Destination {
 public:
  /// `out` is a file when it ends in .png, else a folder. Throws kUsage for other endings, kIo for
  /// a place that nothing can be written to, which thus shows before the work.
  Destination(const std::filesystem::path& out, bool several);

  std::filesystem::path path(std::uint64_t seed) const;

  /// The folder appears with its first picture.
  void make_folder() const;

 private:
  void check_writable() const;

  std::filesystem::path folder_;
  std::string stem_;
  bool numbered_ = false;
};

}  // namespace mos::app
