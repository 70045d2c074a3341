#include "mos/studio/studio_folder.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <system_error>

#include "mos/base/file.h"
#include "mos/base/text.h"
#include "mos/studio/http.h"

namespace mos::studio {
namespace {

namespace fs = std::filesystem;

constexpr std::array<std::string_view, 9> kFolders = {"concepts", "concept-files", "models",
                                                      "adapters", "fused",         "gallery",
                                                      "uploads",  "jobs",          "trash"};
constexpr std::size_t kLongestName = 120;
constexpr std::size_t kDeepest = 8;

std::vector<std::string> parts_of(std::string_view path) {
  std::vector<std::string> parts;
  for (std::size_t begin = 0; begin <= path.size();) {
    const auto slash = std::min(path.find('/', begin), path.size());
    parts.emplace_back(path.substr(begin, slash - begin));
    begin = slash + 1;
  }
  return parts;
}

}  // namespace

void check_name(const std::string& what, std::string_view name) {
  const auto is_odd = [](char c) {
    return static_cast<unsigned char>(c) < 0x20 || c == 0x7f || c == '/' || c == '\\';
  };
  const bool good = !name.empty() && name.size() <= kLongestName && is_utf8(name) &&
                    std::ranges::none_of(name, is_odd) && name.front() != '.' &&
                    trimmed(name) == name;
  if (good) return;
  throw Refused(400, fmt::format("{} \"{}\" is no name: up to {} bytes without slashes, control "
                                 "characters, blanks around it or a dot at its beginning",
                                 what, printable(name), kLongestName));
}

StudioFolder::StudioFolder(const fs::path& root) {
  make_folders(root);
  for (const auto folder : kFolders) make_folders(root / folder);
  std::error_code code;
  root_ = fs::canonical(root, code);
  if (code) throw Error(ErrorKind::kIo, "cannot open " + root.string() + ": " + code.message());
}

fs::path StudioFolder::inside(std::string_view relative, Access access) const {
  if (relative.empty()) throw Refused(400, "the path is empty");
  if (relative.front() == '/') {
    throw Refused(400, fmt::format("the path \"{}\" begins at the root of this machine, expected "
                                   "one in the studio's folder, as gallery/1.png",
                                   printable(relative)));
  }
  const auto parts = parts_of(relative);
  if (parts.size() > kDeepest) throw Refused(400, "the path has too many folders");
  for (const auto& part : parts) {
    if (part.empty()) {
      throw Refused(400, fmt::format("the path \"{}\" has two slashes side by side or one at its "
                                     "end",
                                     printable(relative)));
    }
    check_name("in the path,", part);
  }
  if (std::ranges::find(kFolders, parts.front()) == kFolders.end()) {
    throw Refused(400, fmt::format("\"{}\" is in no folder of the studio", printable(relative)));
  }
  const bool in_models = parts.front() == "models";
  if (access == Access::kWrite && (in_models || parts.size() < 2)) {
    throw Refused(400, fmt::format("nothing is written to \"{}\"", printable(relative)));
  }
  auto path = root_;
  for (const auto& part : parts) {
    path /= part;
    std::error_code ignored;
    if (!in_models && fs::is_symlink(path, ignored)) {
      throw Refused(400, fmt::format("\"{}\" leads through a link", printable(relative)));
    }
  }
  return path;
}

std::string StudioFolder::relative(const fs::path& path) const {
  return path.lexically_relative(root_).generic_string();
}

bool StudioFolder::is_there(const std::string& relative) const {
  std::error_code ignored;
  return fs::exists(fs::symlink_status(root_ / relative, ignored));
}

std::string StudioFolder::free_name(const std::string& relative,
                                    const std::function<bool(const std::string&)>& is_taken) const {
  const fs::path wanted(relative);
  auto name = relative;
  for (int i = 2; is_there(name) || (is_taken && is_taken(name)); ++i) {
    const auto stem =
        fmt::format("{}-{}{}", wanted.stem().string(), i, wanted.extension().string());
    name = (wanted.parent_path() / stem).generic_string();
  }
  return name;
}

std::string StudioFolder::place(const fs::path& from, const std::string& relative,
                                IfTaken if_taken) const {
  const std::lock_guard lock(naming_);
  auto name = if_taken == IfTaken::kOtherName ? free_name(relative) : relative;
  if (if_taken == IfTaken::kRefuse && is_there(name)) {
    throw Refused(409, fmt::format("there is already {}", printable(name)));
  }
  if (if_taken == IfTaken::kDiscard) (void)discard_now(name);
  std::error_code code;
  fs::rename(from, root_ / name, code);
  if (code) throw Error(ErrorKind::kIo, "cannot write " + name + ": " + code.message());
  return name;
}

std::string StudioFolder::discard(const std::string& relative) const {
  const std::lock_guard lock(naming_);
  return discard_now(relative);
}

std::string StudioFolder::discard_now(const std::string& relative) const {
  const auto path = root_ / relative;
  std::error_code code;
  if (!is_there(relative)) return "";
  auto name = free_name("trash/" + path.filename().string());
  fs::rename(path, root_ / name, code);
  if (code) throw Error(ErrorKind::kIo, "cannot move " + relative + ": " + code.message());
  fs::remove(root_ / thumbnail_of(relative), code);
  fs::remove_all(root_ / kThumbnails / relative, code);  // of all that was in a folder
  return name;
}

std::string StudioFolder::thumbnail_of(const std::string& relative) {
  return fmt::format("{}/{}.png", kThumbnails, relative);
}

std::string content_type(const fs::path& path) {
  constexpr std::array<std::array<const char*, 2>, 8> kTypes = {
      {{".png", "image/png"},
       {".jpg", "image/jpeg"},
       {".jpeg", "image/jpeg"},
       {".webp", "image/webp"},
       {".json", "application/json"},
       {".jsonl", "text/plain; charset=utf-8"},
       {".txt", "text/plain; charset=utf-8"},
       {".zip", "application/zip"}}};
  const auto ending = lower_ascii(path.extension().string());
  for (const auto& [known, type] : kTypes) {
    if (ending == known) return type;
  }
  return "application/octet-stream";
}

}  // namespace mos::studio
