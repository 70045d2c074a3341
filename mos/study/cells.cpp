#include "mos/study/cells.h"

#include <fmt/core.h>

#include <set>
#include <vector>

#include "mos/base/directory.h"
#include "mos/base/error.h"
#include "mos/base/file.h"
#include "mos/base/log.h"
#include "mos/base/record.h"
#include "mos/base/sha256.h"
#include "mos/base/temporary.h"
#include "mos/base/text.h"
#include "mos/base/version.h"

namespace mos::study {

namespace fs = std::filesystem;

namespace {

constexpr const char* kCellFile = "cell.json";

/// Letters, digits and dashes of `name`, for a file system of any kind.
std::string file_name(const std::string& name) {
  std::string text;
  for (const char c : name) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '.';
    if (plain) {
      text += c;
    } else if (!text.empty() && text.back() != '-') {
      text += '-';
    }
  }
  constexpr std::size_t kLongest = 80;
  return text.substr(0, kLongest);
}

void check_cell(const fs::path& folder) {
  const auto path = folder / kCellFile;
  std::error_code code;
  if (fs::exists(path, code) && read_json_file(path).contains("basis")) return;
  throw Error(ErrorKind::kUsage,
              fmt::format("cannot replace {}: it is no cell of a study; choose another --out",
                          folder.string()));
}

std::string in_short(const Json& value) {
  constexpr std::size_t kLongest = 40;
  return printable(json_text(value), kLongest);
}

void collect(const Json& before, const Json& now, const std::string& key,
             std::vector<std::string>& found) {
  if (before == now) return;
  if (!before.is_object() || !now.is_object()) {
    const auto was = before.is_null() ? "was not there" : "was " + in_short(before);
    const auto is = now.is_null() ? "is gone" : "is " + in_short(now);
    found.push_back(fmt::format("{} {} and {}", key, was, is));
    return;
  }
  std::set<std::string> keys;
  for (const auto& [name, value] : before.items()) keys.insert(name);
  for (const auto& [name, value] : now.items()) keys.insert(name);
  for (const auto& name : keys) {
    collect(json_value<Json>(before, name, {}), json_value<Json>(now, name, {}), name, found);
  }
}

}  // namespace

std::string digest_of(const Json& json) { return sha256_of(json_text(json)); }

std::string digest_of(const Cell& cell) { return digest_of(cell.basis); }

std::string differences(const Json& before, const Json& now) {
  std::vector<std::string> found;
  collect(before, now, "", found);
  return listed(found, 3, "; ");
}

fs::path CellStore::place_of(const Cell& cell) const {
  constexpr std::size_t kDigits = 10;  // of the wish: other wishes are other cells
  return folder_ / cell.kind /
         fmt::format("{}-{}", file_name(cell.name), digest_of(cell.wish).substr(0, kDigits));
}

std::string CellStore::outdated_text(const Cell& cell) const {
  const auto kept = json_value<Json>(read_json_file(place_of(cell) / kCellFile), "basis", {});
  return fmt::format("{} {}, whose {}", cell.kind, cell.name, differences(kept, cell.basis));
}

void CellStore::clear_leftovers() const {
  for (const char* kind : {"tune", "merge", "paint", "measure"}) {
    mos::clear_leftovers(folder_ / kind);
  }
}

CellStore::State CellStore::state(const Cell& cell) const {
  const auto path = place_of(cell) / kCellFile;
  if (!fs::exists(path)) return State::kMissing;
  const auto kept = json_value<Json>(read_json_file(path), "basis", {});
  return kept == cell.basis ? State::kDone : State::kOutdated;
}

fs::path CellStore::get(const Cell& cell, const std::function<void(const fs::path&)>& make) const {
  const auto place = place_of(cell);
  const auto now = state(cell);
  if (now == State::kDone) return place;
  if (now == State::kOutdated) log::info("made anew: " + outdated_text(cell));
  check_folder_target(place, Existing::kReplace, check_cell);
  AtomicDirectory directory(place, Existing::kReplace, check_cell);
  make(directory.path());
  const Json record = {{kProgramKey, version()},
                       {"kind", cell.kind},
                       {"name", cell.name},
                       {"wish", cell.wish},
                       {"basis", cell.basis}};
  write_text_file(directory.path() / kCellFile, json_text(record, 2) + "\n");
  directory.commit();
  return place;
}

}  // namespace mos::study
