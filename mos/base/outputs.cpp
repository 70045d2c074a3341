#include "mos/base/outputs.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <set>
#include <utility>

#include "mos/base/error.h"
#include "mos/base/place.h"
#include "mos/base/temporary.h"

namespace mos {

namespace fs = std::filesystem;

namespace {

[[noreturn]] void refuse(const std::string& reason) {
  throw Error(ErrorKind::kUsage, reason + "; choose another place");
}

/// Absolute, behind links, without dots.
fs::path plain(const fs::path& path) {
  std::error_code code;
  const auto name = path.has_filename() ? path : path.parent_path();
  auto place = fs::weakly_canonical(fs::absolute(behind_links(name), code), code);
  return code ? fs::absolute(name, code).lexically_normal() : place;  // too long a name, say
}

/// By what a place is known: its path and, if something is there, that thing itself.
std::vector<std::string> keys_of(const fs::path& path) {
  std::vector<std::string> keys = {plain(path).string()};
  struct stat there {};
  if (::stat(path.c_str(), &there) == 0) {
    keys.push_back(fmt::format("{}:{}", there.st_dev, there.st_ino));  // no path: no slash
  }
  return keys;
}

bool lies_in(const fs::path& path, const fs::path& folder) {
  const auto inner = plain(path), outer = plain(folder);
  return std::mismatch(outer.begin(), outer.end(), inner.begin(), inner.end()).first == outer.end();
}

/// The folder that `path` will be written into, or what there is of it.
fs::path nearest_folder(const fs::path& path) {
  auto folder = plain(path).parent_path();
  std::error_code code;
  while (!fs::exists(folder, code) && folder.has_relative_path()) folder = folder.parent_path();
  return folder;
}

/// Throws where `path` holds something of another kind.
void check_kind_of(const FileOutput& file) {
  if (may_replace(file.path, file.kind)) return;
  throw Error(ErrorKind::kUsage,
              fmt::format("{} would replace {}, which is not {}; remove it or choose another place",
                          file.name, file.path.string(), file.kind.name));
}

/// Throws for what no file system can hold.
void check_name(const std::string& name, const fs::path& path) {
  if (path.empty()) throw Error(ErrorKind::kUsage, name + " has no name");
  struct stat there {};
  if (::lstat(path.c_str(), &there) == 0 || errno != ENAMETOOLONG) return;
  throw Error(ErrorKind::kIo,
              fmt::format("{} cannot be written, its name is too long: {}", name, path.string()));
}

/// Throws unless a folder is there or can be made.
void check_folder_of(const std::string& name, const fs::path& path) {
  const auto nearest = nearest_folder(path);
  std::error_code code;
  if (fs::is_directory(nearest, code)) return;
  const auto shown = path.is_absolute() ? nearest : fs::proximate(nearest, code);
  throw Error(ErrorKind::kIo, fmt::format("{} cannot lie in {}: it is a file, expected a folder; "
                                          "choose another place",
                                          name, shown.string()));
}

/// Throws where nothing can be made in the folder that is there, or that folders will be made in.
void check_writable(const fs::path& path) {
  const auto nearest = nearest_folder(path);
  if (!is_forbidden(nearest, W_OK | X_OK)) return;
  throw Error(ErrorKind::kIo,
              fmt::format("cannot create {}: in {} nothing can be made: {}; choose another place",
                          path.string(), nearest.string(), std::strerror(errno)));
}

/// Throws where it cannot be written.
void try_writing(const FileOutput& file) {
  std::error_code code;
  if (file.makes_folder && !fs::exists(plain(file.path).parent_path(), code)) {
    check_writable(file.path);
    const Temporary probe(nearest_folder(file.path) / file.path.filename(), Temporary::Kind::kFile);
  } else {
    check_file_target(file.path, file.existing);
    const AtomicFile probe(file.path);
  }
}

}  // namespace

void Outputs::read(const std::string& name, const fs::path& path) {
  if (!path.empty()) inputs_.push_back({name, path});
}

void Outputs::write(FileOutput file) { files_.push_back(std::move(file)); }

void Outputs::write(FolderOutput folder) { folders_.push_back(std::move(folder)); }

void Outputs::check() const {
  check_places();
  check_folders();
  check_inputs();
  std::set<fs::path> cleared;
  const auto clear_once = [&cleared](const fs::path& path) {
    const auto folder = nearest_folder(path);
    if (cleared.insert(folder).second) clear_leftovers(folder);
  };
  for (const auto& folder : folders_) {
    check_name(folder.name, folder.path);
    check_folder_target(folder.path, folder.existing, folder.may_replace);
    check_folder_of(folder.name, folder.path);
    clear_once(folder.path);
    check_writable(folder.path);
    const Temporary probe(nearest_folder(folder.path) / folder.path.filename(),
                          Temporary::Kind::kFolder);
  }
  for (const auto& file : files_) {
    check_name(file.name, file.path);
    check_kind_of(file);
    check_folder_of(file.name, file.path);
    clear_once(file.path);
    try_writing(file);
  }
}

void Outputs::check_places() const {
  std::map<std::string, std::string> taken;  // by key: who has it
  for (const auto& input : inputs_) {
    for (const auto& key : keys_of(input.path)) taken.emplace(key, input.name);
  }
  const auto take = [&taken](const std::string& name, const fs::path& path) {
    for (const auto& key : keys_of(path)) {
      const auto [other, is_free] = taken.emplace(key, name);
      if (is_free) continue;
      refuse(fmt::format("{} would take the place of {}, {}", name, other->second, path.string()));
    }
  };
  for (const auto& folder : folders_) take(folder.name, folder.path);
  for (const auto& file : files_) take(file.name, file.path);
}

void Outputs::check_folders() const {
  for (const auto& folder : folders_) {
    const auto check = [&folder](const std::string& name, const fs::path& path) {
      if (!lies_in(path, folder.path)) return;
      refuse(fmt::format("{} lies in the folder of {}, {}, which is written as a whole", name,
                         folder.name, folder.path.string()));
    };
    for (const auto& input : inputs_) check(input.name, input.path);
    for (const auto& file : files_) check(file.name, file.path);
  }
}

void Outputs::check_inputs() const {
  for (const auto& file : files_) {
    for (const auto& input : inputs_) {
      if (!file.outside_inputs || !lies_in(file.path, input.path)) continue;
      refuse(fmt::format("{} lies in the folder of {}, {}, which is read", file.name, input.name,
                         input.path.string()));
    }
  }
}

}  // namespace mos
