#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <system_error>

#include "mos/base/file.h"
#include "mos/base/folder.h"
#include "mos/base/text.h"
#include "mos/studio/trash.h"
#include "mos/studio/uploads.h"

namespace mos::studio {
namespace {

namespace fs = std::filesystem;

constexpr std::array<const char*, 4> kSettings = {"words", "class_word", "caption", "templates"};

std::string folder_of(const std::string& name) { return "concepts/" + name; }

/// Throws Refused(404) where there is no such concept.
std::string required(const Parts& parts, const Call& call) {
  const auto& name = call.name("name");
  check_name("the concept", name);
  std::error_code ignored;
  if (!fs::is_directory(parts.folder.inside(folder_of(name)), ignored)) {
    throw Refused(404, fmt::format("there is no concept {}", printable(name)));
  }
  return name;
}

Json settings_of(const Parts& parts, const std::string& name) {
  const auto file = parts.folder.root() / folder_of(name) / "concept.json";
  std::error_code ignored;
  if (!fs::is_regular_file(file, ignored)) return Json::object();
  try {
    auto settings = read_json_file(file);
    if (settings.is_object()) return settings;
  } catch (const Error&) {  // said where the pictures are checked
  }
  return Json::object();
}

/// The words as a list, however concept.json has them.
std::vector<std::string> words_of(const Json& settings) {
  const auto words = settings.value("words", Json());
  if (words.is_string()) return split_words(words.get<std::string>());
  std::vector<std::string> list;
  for (const auto& word : words) {
    if (word.is_string()) list.push_back(word.get<std::string>());
  }
  return list;
}

Json text_or_null(const Json& settings, const char* key) {
  const auto value = settings.value(key, Json());
  return value.is_string() ? value : Json();
}

/// Its pictures by name without ending; our layout, which is what the studio makes.
std::map<std::string, std::string> pictures_of(const Parts& parts, const std::string& name) {
  std::map<std::string, std::string> pictures;
  std::error_code ignored;
  for (const std::string inner : {"/images", ""}) {
    const auto folder = parts.folder.root() / (folder_of(name) + inner);
    if (!pictures.empty() || !fs::is_directory(folder, ignored)) continue;
    for (const auto& path : entries_of(folder)) {
      if (content_type(path).starts_with("image/")) {
        pictures[path.stem().string()] = parts.folder.relative(path);
      }
    }
  }
  return pictures;
}

std::int64_t files_in(const Parts& parts, const std::string& folder) {
  std::error_code ignored;
  const auto path = parts.folder.root() / folder;
  if (!fs::is_directory(path, ignored)) return 0;
  return static_cast<std::int64_t>(entries_of(path).size());
}

Json summary(const Parts& parts, const std::string& name) {
  const auto settings = settings_of(parts, name);
  const auto pictures = pictures_of(parts, name);
  const auto class_word = text_or_null(settings, "class_word");
  return {{"name", name},
          {"words", words_of(settings)},
          {"class_word", class_word.is_null() ? "" : class_word},
          {"pictures", pictures.size()},
          {"masks", files_in(parts, folder_of(name) + "/masks")},
          {"captions", files_in(parts, folder_of(name) + "/captions")},
          {"cover", pictures.empty() ? Json() : Json(pictures.begin()->second)}};
}

void tell(const Parts& parts, const std::string& name) {
  parts.events.tell("concept", {{"name", name}});
}

/// What mos tune on the command line keeps beside a concept, a set in each folder.
bool holds_class_pictures(const fs::path& folder) {
  if (!folder.filename().string().ends_with("-prior")) return false;
  std::error_code ignored;
  return std::ranges::any_of(entries_of(folder), [&ignored](const fs::path& set) {
    return fs::is_regular_file(set / "prior.json", ignored);
  });
}

Reply list(const Parts& parts) {
  Json concepts = Json::array();
  std::error_code ignored;
  for (const auto& path : entries_of(parts.folder.root() / "concepts")) {
    if (fs::is_directory(fs::symlink_status(path, ignored)) && !holds_class_pictures(path)) {
      concepts.push_back(summary(parts, path.filename().string()));
    }
  }
  return json_reply({{"concepts", concepts}});
}

/// `settings` with what `body` says over them. Throws Refused(400) for what they cannot be.
Json changed_settings(Json settings, const Json& body) {
  for (const auto* key : kSettings) {
    if (!body.contains(key)) continue;
    if (std::string_view(key) == "words") {
      settings[key] = field<std::vector<std::string>>(body, key, {});
    } else {
      settings[key] = field<std::string>(body, key, "");
    }
    if (settings[key].empty() || settings[key] == "") settings.erase(key);
  }
  return settings;
}

void save_settings(const Parts& parts, const std::string& name, const Json& settings) {
  write_text_file(parts.folder.root() / folder_of(name) / "concept.json",
                  json_text(settings, 2) + "\n");
  tell(parts, name);
}

Reply add(Parts& parts, const Call& call) {
  const auto body = json_body(call);
  refuse_unknown_keys(body, {"name", "words", "class_word", "caption", "templates"});
  const auto name = field<std::string>(body, "name", "");
  check_name("the concept", name);
  const auto place = parts.folder.inside(folder_of(name), Access::kWrite);
  std::error_code code;
  const auto settings = changed_settings(Json::object(), body);  // throws before anything is made
  make_folders(place.parent_path());
  if (!fs::create_directory(place, code) && !code) {  // also for one of two who ask at once
    throw Refused(409, fmt::format("there is already {}", name));
  }
  make_folders(place / "images");
  save_settings(parts, name, settings);
  return json_reply(summary(parts, name), 201);
}

Reply change(Parts& parts, const Call& call) {
  const auto name = required(parts, call);
  const auto body = json_body(call);
  refuse_unknown_keys(body, {"words", "class_word", "caption", "templates"});
  save_settings(parts, name, changed_settings(settings_of(parts, name), body));
  return json_reply(summary(parts, name));
}

Json first_model(const Parts& parts) {
  const auto models = models_of(parts.folder);
  return models.empty() ? Json("") : models.front().at("path");
}

/// The concept as tuning sees it.
Reply show(Parts& parts, const Call& call) {
  const auto name = required(parts, call);
  Json request = {{"do", "concept"}, {"folder", folder_of(name)}, {"base", first_model(parts)}};
  Json options = {{"size", call.number("size", 0, 0, 1 << 14)}};
  const auto framing = call.query.find("framing"), crop = call.query.find("crop_probability");
  if (framing != call.query.end()) options["framing"] = framing->second;
  if (crop != call.query.end()) {
    const auto number = number_in<double>(crop->second);
    if (!number) throw Refused(400, "crop_probability must be a number");
    options["crop_probability"] = *number;
  }
  request["options"] = options;
  const auto seen = parts.reader.ask(request);
  const auto settings = settings_of(parts, name);
  const auto class_word = text_or_null(settings, "class_word");
  Json reply = {{"name", name},
                {"words", words_of(settings)},
                {"class_word", class_word.is_null() ? "" : class_word},
                {"caption", text_or_null(settings, "caption")},
                {"templates", text_or_null(settings, "templates")}};
  reply.update(seen);
  return json_reply(reply);
}

Reply put_picture(Parts& parts, const Call& call) {
  const auto name = required(parts, call);
  const auto& file = call.name("file");
  check_picture_name(file);
  const auto path = folder_of(name) + "/images/" + file;
  const auto pictures = pictures_of(parts, name);
  const auto known = pictures.find(fs::path(file).stem().string());
  if (known != pictures.end() && known->second != path) {
    throw Refused(409, fmt::format("{} has this name already, and its mask and caption go by it",
                                   known->second));
  }
  Upload upload(parts, call, {.name = file});
  const auto picture = upload.check_picture();
  upload.place(path, IfTaken::kDiscard);  // what was there may be another picture
  tell(parts, name);
  return json_reply({{"path", path}, {"width", picture.width}, {"height", picture.height}}, 201);
}

Reply delete_picture(Parts& parts, const Call& call) {
  const auto name = required(parts, call);
  const auto stem = fs::path(call.name("file")).stem().string();
  const auto pictures = pictures_of(parts, name);
  const auto found = pictures.find(stem);
  if (found == pictures.end() || fs::path(found->second).filename() != call.name("file")) {
    throw Refused(404, fmt::format("there is no picture {}", printable(call.name("file"))));
  }
  const auto moved =
      discard_all(parts.folder, {found->second, folder_of(name) + "/masks/" + stem + ".png",
                                 folder_of(name) + "/captions/" + stem + ".txt"});
  tell(parts, name);
  return discarded_reply(moved);
}

/// The picture of a mask; masks are named after their pictures, whatever ends their names.
std::string picture_of_mask(const Parts& parts, const std::string& name, const Call& call) {
  const auto pictures = pictures_of(parts, name);
  auto stem = call.name("picture");
  if (!pictures.contains(stem) && stem.ends_with(".png")) stem.resize(stem.size() - 4);
  if (pictures.contains(stem)) return stem;
  throw Refused(404, fmt::format("there is no picture {}", printable(stem)));
}

Reply put_mask(Parts& parts, const Call& call) {
  const auto name = required(parts, call);
  const auto stem = picture_of_mask(parts, name, call);
  Upload upload(parts, call, {.name = "the mask of " + stem});
  const auto size = upload.check_mask(pictures_of(parts, name).at(stem));
  const auto path = folder_of(name) + "/masks/" + stem + ".png";
  upload.place(path, IfTaken::kReplace);
  tell(parts, name);
  return json_reply({{"path", path}, {"width", size.width}, {"height", size.height}}, 201);
}

Reply delete_mask(Parts& parts, const Call& call) {
  const auto name = required(parts, call);
  const auto mask = folder_of(name) + "/masks/" + picture_of_mask(parts, name, call) + ".png";
  const auto moved = discard_all(parts.folder, {mask});
  tell(parts, name);
  return discarded_reply(moved);
}

/// All captions that are given are right before the first is written.
Reply change_captions(Parts& parts, const Call& call) {
  const auto name = required(parts, call);
  const auto body = json_body(call);
  const auto pictures = pictures_of(parts, name);
  for (const auto& [stem, text] : body.items()) {
    if (!pictures.contains(stem)) {
      throw Refused(404, fmt::format("there is no picture {}", printable(stem)));
    }
    if (!text.is_null() && (!text.is_string() || trimmed(text.get<std::string>()).empty())) {
      throw Refused(400, fmt::format("the caption of {} must be a text, or null for none", stem));
    }
  }
  for (const auto& [stem, text] : body.items()) {
    const auto path = folder_of(name) + "/captions/" + stem + ".txt";
    if (text.is_null()) {
      parts.folder.discard(path);
    } else {
      make_folders(parts.folder.root() / folder_of(name) / "captions");
      write_text_file(parts.folder.root() / path, text.get<std::string>() + "\n");
    }
  }
  tell(parts, name);
  return json_reply(body);
}

Reply remove(Parts& parts, const Call& call) {
  const auto name = required(parts, call);
  const auto moved = discard_all(parts.folder, {folder_of(name)});
  tell(parts, name);
  return discarded_reply(moved);
}

}  // namespace

std::vector<Route> concept_routes(Parts& parts) {
  const auto with = [&parts](Reply (*handle)(Parts&, const Call&)) {
    return [&parts, handle](const Call& call) { return handle(parts, call); };
  };
  const std::string one = "/mos/v1/concepts/{name}";
  return {
      {"GET", "/mos/v1/concepts", [&parts](const Call&) { return list(parts); }},
      {"POST", "/mos/v1/concepts", with(add)},
      {"GET", one, with(show), {"framing", "size", "crop_probability"}},
      {"PATCH", one, with(change)},
      {"DELETE", one, with(remove)},
      {"PUT", one + "/pictures/{file}", with(put_picture)},
      {"DELETE", one + "/pictures/{file}", with(delete_picture)},
      {"PUT", one + "/masks/{picture}", with(put_mask)},
      {"DELETE", one + "/masks/{picture}", with(delete_mask)},
      {"PATCH", one + "/captions", with(change_captions)},
  };
}

}  // namespace mos::studio
