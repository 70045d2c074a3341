#include "mos/studio/opening.h"

#include <fmt/core.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <system_error>

#include "mos/base/error.h"
#include "mos/base/file.h"
#include "mos/base/folder.h"

namespace mos::studio {
namespace {

namespace fs = std::filesystem;

bool has_same_bytes(const fs::path& a, const fs::path& b) {
  std::error_code code;
  if (!fs::is_regular_file(b, code) || fs::file_size(a, code) != fs::file_size(b, code)) {
    return false;
  }
  std::ifstream one(a, std::ios::binary), other(b, std::ios::binary);
  using Bytes = std::istreambuf_iterator<char>;
  return std::equal(Bytes(one), Bytes(), Bytes(other), Bytes());
}

/// The copy appears when it is complete.
void copy_whole(const StudioFolder& folder, const fs::path& file, const std::string& to) {
  const auto part = folder.root() / ".incoming" / ("opening-" + fs::path(to).filename().string());
  make_folders(part.parent_path());
  std::error_code code;
  fs::copy_file(file, part, fs::copy_options::overwrite_existing, code);
  if (!code) fs::rename(part, folder.root() / to, code);
  if (!code) return;
  throw Error(ErrorKind::kIo, fmt::format("cannot copy {} into {}: {}", file.string(),
                                          folder.root().string(), code.message()));
}

/// The adapter at `path` as requests name it: below a model of the folder.
std::string adapter_of(const StudioFolder& folder, const std::string& path) {
  std::error_code code;
  const auto there = fs::canonical(path, code);
  if (code) {
    throw Error(ErrorKind::kIo,
                fmt::format("cannot open the adapter {}: {}", path, code.message()));
  }
  for (const auto& model : entries_of(folder.root() / "models")) {
    const auto below = there.lexically_relative(fs::canonical(model, code));
    if (code || below.empty() || *below.begin() == "..") continue;
    return fmt::format("models/{}/{}", model.filename().string(), below.generic_string());
  }
  throw Error(ErrorKind::kUsage,
              fmt::format("the scene reads the adapter {}, which is of no model of this studio: "
                          "give its model with --base",
                          path));
}

/// Changes the text under `name` of each object in the list `list` of `scene` by `change`.
template <class Change>
void change_texts(Json& scene, const char* list, const char* name, Change change) {
  const auto entries = scene.find(list);
  if (entries == scene.end() || !entries->is_array()) return;
  for (auto& entry : *entries) {
    if (!entry.is_object() || !entry.contains(name) || !entry.at(name).is_string()) continue;
    entry[name] = change(entry.at(name).get<std::string>());
  }
}

}  // namespace

std::string take_file(const StudioFolder& folder, const fs::path& file, const std::string& top,
                      const PlaceCheck& check) {
  std::error_code code;
  if (!fs::is_regular_file(file, code)) {
    throw Error(ErrorKind::kIo,
                fmt::format("cannot open {}: there is no such file", file.string()));
  }
  const auto name = file.filename().string();
  check_name("the file", name);
  for (const auto& entry : entries_of(folder.root() / top)) {
    if (entry.extension() == file.extension() && has_same_bytes(file, entry)) {
      return folder.relative(entry);
    }
  }
  if (check) check(fs::absolute(file));
  const auto to = folder.free_name(top + "/" + name);
  copy_whole(folder, file, to);
  return to;
}

void link_model(const StudioFolder& folder, const std::string& model, const PlaceCheck& check) {
  std::error_code code;
  const auto there = fs::canonical(model, code);
  if (code) throw Error(ErrorKind::kIo, fmt::format("cannot open {}: {}", model, code.message()));
  const auto link = folder.root() / "models" / there.filename();
  if (fs::exists(fs::symlink_status(link))) {
    if (fs::canonical(link, code) == there) return;
    throw Error(ErrorKind::kUsage,
                fmt::format("models/ has another {} already", there.filename().string()));
  }
  check(there);
  fs::create_symlink(there, link, code);
  if (code) throw Error(ErrorKind::kIo, fmt::format("cannot link {}: {}", model, code.message()));
}

std::int64_t take_scene(const StudioFolder& folder, Projects& projects, const fs::path& file) {
  auto scene = read_json_file(file);
  if (!scene.is_object()) {
    throw Error(ErrorKind::kFormat,
                fmt::format("{} is no scene: expected a JSON object", file.string()));
  }
  const auto taken = [&](const std::string& path) { return take_file(folder, path, "uploads"); };
  change_texts(scene, "regions", "mask", taken);
  change_texts(scene, "conditions", "picture", taken);
  change_texts(scene, "conditions", "adapter",
               [&](const std::string& path) { return adapter_of(folder, path); });
  const Json content = {{"scene", scene}};
  const auto title = file.stem().string();
  for (const auto& known : projects.list()) {
    if (known.title != title) continue;
    const auto whole = projects.find(known.id);
    if (whole && whole->content == content) return known.id;
  }
  return projects.save({.title = title, .content = content}).id;
}

}  // namespace mos::studio
