#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "mos/base/json.h"

/// What a job says (docs/progress.md), read from the file where it says it.
namespace mos::studio {

/// Reads a file that grows, line by line.
class JobTalk {
 public:
  JobTalk(std::filesystem::path file, std::int64_t offset)
      : file_(std::move(file)), offset_(offset) {}

  /// The events of the lines that were completed since the last call. Lines that are no JSON (a
  /// library's) become logs.
  std::vector<Json> news();

 private:
  std::filesystem::path file_;
  std::int64_t offset_;
};

/// {"lines": [{"level", "message"}]}: the last `most` messages.
Json log_of(const std::filesystem::path& events, std::size_t most);
/// {"steps", "losses"}: what it told of its loss, thinned out to `most` points.
Json curve_of(const std::filesystem::path& events, std::size_t most);
/// Its lines on stdout.
std::vector<std::string> lines_of(const std::filesystem::path& file);

}  // namespace mos::studio
