#include "mos/studio/gallery.h"

#include <fmt/core.h>

#include <algorithm>
#include <set>
#include <system_error>

#include "mos/base/error.h"
#include "mos/base/folder.h"
#include "mos/base/text.h"
#include "mos/studio/thumbnails.h"
#include "mos/studio/trash.h"

namespace mos::studio {
namespace {

namespace fs = std::filesystem;

constexpr const char* kTable =
    "CREATE TABLE IF NOT EXISTS pictures (id INTEGER PRIMARY KEY AUTOINCREMENT,"
    " path TEXT NOT NULL UNIQUE, job INTEGER, created TEXT NOT NULL, width INTEGER NOT NULL,"
    " height INTEGER NOT NULL, prompt TEXT NOT NULL, seed INTEGER, starred INTEGER NOT NULL,"
    " note TEXT NOT NULL, concepts TEXT NOT NULL);"
    "CREATE TABLE IF NOT EXISTS unread (path TEXT PRIMARY KEY);"
    "CREATE TABLE IF NOT EXISTS discarded (trash TEXT PRIMARY KEY, id INTEGER NOT NULL,"
    " created TEXT NOT NULL, job INTEGER, starred INTEGER NOT NULL, note TEXT NOT NULL)";

constexpr const char* kColumns =
    "id, path, job, created, width, height, prompt, seed, starred, note, concepts FROM pictures";

Picture picture_of(const Statement& row) {
  return {.id = row.integer(0),
          .path = row.text(1),
          .job = row.optional_integer(2),
          .created = row.text(3),
          .width = row.integer(4),
          .height = row.integer(5),
          .prompt = row.text(6),
          .concepts = row.text(10),
          .seed = row.optional_integer(7),
          .starred = row.integer(8) != 0,
          .note = row.text(9)};
}

bool is_picture(const fs::path& path) {
  return lower_ascii(path.extension().string()) == ".png" &&
         !path.stem().string().ends_with(".preview");
}

/// The prompts of a scene in one text.
std::string prompts_of(const Json& scene) {
  std::string text;
  const auto add = [&text](const Json& holder) {
    const auto prompt = holder.is_object() ? holder.value("prompt", Json()) : Json();
    if (!prompt.is_string() || prompt.get<std::string>().empty()) return;
    text += (text.empty() ? "" : " | ") + prompt.get<std::string>();
  };
  add(scene);
  const auto regions = scene.is_object() ? scene.value("regions", Json::array()) : Json::array();
  for (const auto& region : regions) add(region);
  return text;
}

/// The names of the concepts of a record, without folders and endings: a list of {"file"} in the
/// one beside a picture, of FILE=SCALE in what the reader gives.
std::string concepts_of(const Json& record, const Json& options) {
  std::string names;
  const auto add = [&names](const std::string& file) {
    const auto stem = fs::path(file.substr(0, file.find('='))).stem().string();
    if (!stem.empty()) names += (names.empty() ? "" : " ") + stem;
  };
  for (const auto& use : record.value("concepts", Json::array())) {
    if (use.is_object()) add(use.value("file", ""));
  }
  for (const auto& use : options.value("concept", Json::array())) {
    if (use.is_string()) add(use.get<std::string>());
  }
  return names;
}

/// What can be searched of a picture.
void take_facts(const Json& record, Picture& picture) {
  if (!record.is_object()) return;
  const auto options = record.value("options", Json::object());
  picture.prompt = prompts_of(record.value("scene", Json()));
  if (picture.prompt.empty()) picture.prompt = prompts_of(options);
  picture.concepts = concepts_of(record, options);
  const auto seed = record.value("seed", options.value("seed", Json()));
  if (seed.is_number_integer()) picture.seed = seed.get<std::int64_t>();
}

/// A filter as SQL; bind_filter fills its question marks.
constexpr const char* kWhere = "(? = 0 OR starred = 1) AND (? = 0 OR id < ?)";
constexpr std::size_t kMostWords = 16;

std::vector<std::string> words_of(const PictureFilter& filter) {
  auto words = split_words(filter.search);
  if (words.size() > kMostWords) words.resize(kMostWords);
  return words;
}

std::string where(const PictureFilter& filter) {
  std::string sql = kWhere;
  for (std::size_t i = 0; i < words_of(filter).size(); ++i) {
    sql += " AND instr(lower(prompt || ' ' || concepts || ' ' || note || ' ' || path), ?) > 0";
  }
  return sql;
}

void bind_filter(Statement& statement, const PictureFilter& filter) {
  statement.bind(std::int64_t{filter.starred}).bind(filter.before).bind(filter.before);
  for (const auto& word : words_of(filter)) statement.bind(lower_ascii(word));
}

}  // namespace

Json to_json(const Picture& picture) {
  return {{"id", picture.id},
          {"path", picture.path},
          {"job", picture.job ? Json(*picture.job) : Json()},
          {"created", picture.created},
          {"width", picture.width},
          {"height", picture.height},
          {"prompt", picture.prompt},
          {"seed", picture.seed ? Json(*picture.seed) : Json()},
          {"concepts", split_words(picture.concepts)},
          {"starred", picture.starred},
          {"note", picture.note}};
}

Gallery::Gallery(Database& database, const StudioFolder& folder)
    : database_(database), folder_(folder) {
  database_.execute(kTable);
  take_in_all();
}

void Gallery::take_in_all() {
  std::set<std::string> known;
  {
    Statement select(database_, "SELECT path FROM pictures");
    while (select.step()) known.insert(select.text(0));
  }
  for (const auto& path : entries_of(folder_.root() / "gallery")) {
    const auto name = folder_.relative(path);
    if (!is_picture(path) || known.contains(name) || !add(name, std::nullopt)) continue;
    Statement(database_, "INSERT OR IGNORE INTO unread VALUES (?)").bind(name).run();
  }
}

std::optional<std::int64_t> Gallery::read_next(
    const std::function<Json(const std::string& path)>& read) {
  std::string path;
  {  // a statement keeps others from the database
    Statement select(database_, "SELECT path FROM unread ORDER BY path LIMIT 1");
    if (!select.step()) return std::nullopt;
    path = select.text(0);
  }
  const auto record = read(path);
  std::optional<Picture> picture;
  if (!record.is_null()) picture = add(path, std::nullopt, record);
  Statement(database_, "DELETE FROM unread WHERE path = ?").bind(path).run();
  return picture ? picture->id : 0;
}

std::optional<Picture> Gallery::add(const std::string& path, std::optional<std::int64_t> job,
                                    Json record) {
  const auto place = folder_.root() / path;
  const auto [width, height] = size_of_png(place);
  if (!is_picture(place) || width == 0) return std::nullopt;
  Picture picture{
      .path = path, .job = job, .created = timestamp(), .width = width, .height = height};
  take_facts(record.is_null() ? record_beside(path) : record, picture);
  Statement insert(
      database_,
      "INSERT INTO pictures (path, job, created, width, height, prompt, seed, starred,"
      " note, concepts) VALUES (?, ?, ?, ?, ?, ?, ?, 0, '', ?) ON CONFLICT (path) DO UPDATE SET"
      " job = excluded.job, width = excluded.width, height = excluded.height,"
      " prompt = excluded.prompt, seed = excluded.seed, concepts = excluded.concepts"
      " RETURNING id");
  insert.bind(path).bind(job).bind(picture.created).bind(width).bind(height);
  insert.bind(picture.prompt).bind(picture.seed).bind(picture.concepts);
  if (insert.step()) picture.id = insert.integer(0);
  insert.run();
  return picture;
}

std::vector<Picture> Gallery::add_results(const Job& job) {
  std::vector<Picture> pictures;
  for (const auto& path : job.results) {
    if (!path.starts_with("gallery/")) continue;
    if (auto picture = add(path, job.id)) pictures.push_back(std::move(*picture));
  }
  return pictures;
}

std::optional<Picture> Gallery::find(std::int64_t id) {
  Statement select(database_, fmt::format("SELECT {} WHERE id = ?", kColumns));
  select.bind(id);
  if (!select.step()) return std::nullopt;
  return picture_of(select);
}

std::vector<Picture> Gallery::list(const PictureFilter& filter) {
  Statement select(database_, fmt::format("SELECT {} WHERE {} ORDER BY id DESC LIMIT ?", kColumns,
                                          where(filter)));
  bind_filter(select, filter);
  select.bind(filter.limit);
  std::vector<Picture> pictures;
  while (select.step()) pictures.push_back(picture_of(select));
  return pictures;
}

std::int64_t Gallery::count(const PictureFilter& filter) {
  Statement select(database_, "SELECT count(*) FROM pictures WHERE " + where(filter));
  bind_filter(select, filter);
  return select.step() ? select.integer(0) : 0;
}

void Gallery::save(const Picture& picture) {
  Statement update(database_, "UPDATE pictures SET starred = ?, note = ? WHERE id = ?");
  update.bind(std::int64_t{picture.starred}).bind(picture.note).bind(picture.id).run();
}

Json Gallery::discard(const Picture& picture) {
  const auto record = fs::path(picture.path).replace_extension(".json").generic_string();
  auto moved = discard_all(folder_, {record, picture.path});
  if (!moved.empty() && moved.back().at("path") == picture.path) {
    Statement keep(database_, "INSERT OR REPLACE INTO discarded VALUES (?, ?, ?, ?, ?, ?)");
    keep.bind(moved.back().at("trash").get<std::string>()).bind(picture.id).bind(picture.created);
    keep.bind(picture.job).bind(std::int64_t{picture.starred}).bind(picture.note).run();
  }
  Statement(database_, "DELETE FROM pictures WHERE id = ?").bind(picture.id).run();
  return moved;
}

std::optional<Picture> Gallery::restore(const std::string& path, const std::string& trash) {
  auto picture = add(path, std::nullopt);
  if (!picture) return std::nullopt;
  Statement select(database_,
                   "SELECT id, created, job, starred, note FROM discarded WHERE trash = ?");
  select.bind(trash);
  if (!select.step()) return picture;
  picture->id = select.integer(0);
  Statement update(database_,
                   "UPDATE pictures SET id = ?, created = ?, job = ?, starred = ?, note = ?"
                   " WHERE path = ?");
  update.bind(picture->id).bind(select.text(1)).bind(select.optional_integer(2));
  update.bind(select.integer(3)).bind(select.text(4)).bind(path).run();
  Statement(database_, "DELETE FROM discarded WHERE trash = ?").bind(trash).run();
  return find(picture->id);
}

Json Gallery::record_beside(const std::string& picture) const {
  const auto path = (folder_.root() / picture).replace_extension(".json");
  std::error_code ignored;
  if (!fs::is_regular_file(path, ignored)) return nullptr;
  try {
    return read_json_file(path);
  } catch (const Error&) {  // somebody else's file of that name
    return nullptr;
  }
}

}  // namespace mos::studio
