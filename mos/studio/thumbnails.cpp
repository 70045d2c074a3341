#include "mos/studio/thumbnails.h"

#include <fmt/core.h>

#include <algorithm>
#include <fstream>
#include <system_error>
#include <vector>

#include "mos/base/text.h"
#include "mos/studio/parts.h"

namespace mos::studio {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kThumbnailSide = 384;

bool is_small_png(const fs::path& picture) {
  const auto [width, height] = size_of_png(picture);
  return width > 0 && std::max(width, height) <= kThumbnailSide;
}

/// A thumbnail has the time of its picture, so that one of another picture is known, older or
/// newer.
bool is_of(const fs::path& thumbnail, fs::file_time_type time) {
  std::error_code code;
  const auto own = fs::last_write_time(thumbnail, code);
  return !code && own == time;
}

}  // namespace

std::array<std::int64_t, 2> size_of_png(const fs::path& path) {
  constexpr std::size_t kHead = 24, kSizeAt = 16;
  std::array<unsigned char, kHead> head{};
  std::ifstream file(path, std::ios::binary);
  file.read(reinterpret_cast<char*>(head.data()), kHead);
  if (file.gcount() != kHead || head[1] != 'P' || head[2] != 'N') return {0, 0};
  const auto number = [&head](std::size_t at) {
    return std::int64_t{head[at]} << 24 | head[at + 1] << 16 | head[at + 2] << 8 | head[at + 3];
  };
  return {number(kSizeAt), number(kSizeAt + 4)};
}

Reply thumbnail_reply(const Parts& parts, const std::string& relative) {
  const auto picture = parts.folder.inside(relative);
  std::error_code code;
  if (!fs::is_regular_file(picture, code)) {
    throw Refused(404, fmt::format("there is no {}", printable(relative)));
  }
  if (!content_type(picture).starts_with("image/")) {
    throw Refused(415, fmt::format("{} is no picture: PNG, JPEG and WebP have thumbnails",
                                   printable(relative)));
  }
  if (is_small_png(picture)) return {.type = content_type(picture), .file = picture};
  const auto small = StudioFolder::thumbnail_of(relative);
  const auto place = parts.folder.root() / small;
  const auto time = fs::last_write_time(picture, code);
  if (!is_of(place, time)) {
    (void)parts.reader.ask(
        {{"do", "thumbnail"}, {"file", relative}, {"out", small}, {"side", kThumbnailSide}});
    fs::last_write_time(place, time, code);
  }
  return {.type = content_type(place), .file = place};
}

void remove_orphaned_thumbnails(const StudioFolder& folder) {
  const auto root = folder.root() / StudioFolder::kThumbnails;
  std::error_code code;
  std::vector<fs::path> orphans;
  for (auto entry = fs::recursive_directory_iterator(root, code);
       !code && entry != fs::recursive_directory_iterator(); entry.increment(code)) {
    if (!entry->is_regular_file(code)) continue;
    const auto picture = entry->path().lexically_relative(root).replace_extension();
    if (!fs::is_regular_file(folder.root() / picture, code)) orphans.push_back(entry->path());
  }
  for (const auto& orphan : orphans) fs::remove(orphan, code);
}

}  // namespace mos::studio
