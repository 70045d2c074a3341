#include "mos/base/temporary_name.h"

#include <fmt/core.h>
#include <sys/stat.h>

#include <algorithm>
#include <fstream>
#include <random>
#include <system_error>

namespace mos {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kMark = ".mos-";
constexpr std::string_view kEnding = ".part";
constexpr std::size_t kIdDigits = 8;
constexpr std::size_t kTailLength = kMark.size() + 2 * kIdDigits + 1 + kEnding.size();
constexpr std::size_t kLongestName = 255;  // bytes, of the usual Linux file systems

}  // namespace

std::string boot_id() {
  std::ifstream stream("/proc/sys/kernel/random/boot_id");
  std::string id;
  stream >> id;
  return id.size() < kIdDigits ? "" : id.substr(0, kIdDigits);
}

std::string temporary_name(const fs::path& place) {
  auto name = place.filename().string();
  const auto room = kLongestName - 1 - kTailLength;
  if (name.size() > room) {
    auto end = room;
    while (end > 0 && (static_cast<unsigned char>(name[end]) & 0xc0) == 0x80) --end;  // UTF-8
    name.resize(end);
  }
  const auto boot = boot_id();
  return fmt::format(".{}{}{}-{:08x}{}", name, kMark, boot.empty() ? "00000000" : boot,
                     std::random_device()(), kEnding);
}

std::string_view boot_in(std::string_view name) {
  if (name.size() <= kTailLength + 1 || name[0] != '.' || !name.ends_with(kEnding)) return {};
  const auto tail = name.substr(name.size() - kTailLength);
  const auto ids = tail.substr(kMark.size(), 2 * kIdDigits + 1);
  const bool fits = tail.starts_with(kMark) && ids[kIdDigits] == '-' &&
                    ids.find_first_not_of("0123456789abcdef-") == std::string_view::npos;
  return fits ? ids.substr(0, kIdDigits) : std::string_view();
}

bool lies_in_temporary(const fs::path& path) {
  const auto folder = path.parent_path();
  return std::any_of(folder.begin(), folder.end(),
                     [](const fs::path& part) { return !boot_in(part.string()).empty(); });
}

// The sticky bit: it means nothing on files, hardly anything on a user's own folder, and is not
// set on what is new.
void mark_kept(const fs::path& path) {
  std::error_code ignored;
  fs::permissions(path, fs::perms::sticky_bit, fs::perm_options::add, ignored);
}

bool is_kept(int descriptor) {
  struct stat there {};
  return ::fstat(descriptor, &there) == 0 && (there.st_mode & S_ISVTX) != 0;
}

}  // namespace mos
