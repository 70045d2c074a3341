#include <fmt/core.h>

#include <set>
#include <system_error>

#include "mos/base/text.h"
#include "mos/studio/thumbnails.h"
#include "mos/studio/trash.h"
#include "mos/studio/uploads.h"
#include "mos/studio/zip.h"

namespace mos::studio {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMostAtOnce = 10000;
/// Of thumbnails: a gallery that is scrolled back asks for none again.
constexpr const char* kKept = "private, max-age=86400";

Picture required(Parts& parts, std::int64_t id) {
  auto picture = parts.gallery.find(id);
  if (!picture) throw Refused(404, fmt::format("there is no picture {}", id));
  return std::move(*picture);
}

PictureFilter filter_of(const Call& call) {
  PictureFilter filter{.before = call.number("before", 0, 0, INT64_MAX),
                       .limit = call.number("limit", 100, 1, 1000)};
  const auto search = call.query.find("search"), starred = call.query.find("starred");
  if (search != call.query.end()) filter.search = search->second;
  if (starred != call.query.end()) {
    if (starred->second != "true" && starred->second != "false") {
      throw Refused(400, "starred is true or false");
    }
    filter.starred = starred->second == "true";
  }
  return filter;
}

Reply list(Parts& parts, const Call& call) {
  auto filter = filter_of(call);
  Json pictures = Json::array();
  for (const auto& picture : parts.gallery.list(filter)) pictures.push_back(to_json(picture));
  filter.before = 0;
  return json_reply({{"pictures", pictures}, {"total", parts.gallery.count(filter)}});
}

Reply show(Parts& parts, const Call& call) {
  const auto picture = required(parts, call.id());
  const auto found = record_of(parts, picture.path);
  Json reply = {{"picture", to_json(picture)}, {"record", nullptr}, {"command", nullptr}};
  if (found.is_null()) return json_reply(reply);
  reply["record"] = found.at("options");
  reply["record"]["scene"] = found.at("scene");
  const auto* again = found.at("program") == "mos" ? "--rerun" : "--from";
  reply["command"] = fmt::format("mos sample {} {} --out again.png", again, picture.path);
  return json_reply(reply);
}

Reply change(Parts& parts, const Call& call) {
  auto picture = required(parts, call.id());
  const auto body = json_body(call);
  refuse_unknown_keys(body, {"starred", "note"});
  picture.starred = field<bool>(body, "starred", picture.starred);
  picture.note = field<std::string>(body, "note", picture.note);
  parts.gallery.save(picture);
  parts.events.tell("gallery", {{"changed", {picture.id}}});
  return json_reply(to_json(picture));
}

Reply picture(Parts& parts, const Call& call) {
  const auto file = parts.folder.inside(required(parts, call.id()).path);
  std::error_code ignored;
  if (!fs::is_regular_file(file, ignored)) throw Refused(404, "its file is gone");
  Reply reply{.type = content_type(file), .file = file};
  reply.headers["Cache-Control"] = "no-cache";
  return reply;
}

Reply thumbnail(Parts& parts, const Call& call) {
  auto reply = thumbnail_reply(parts, required(parts, call.id()).path);
  reply.headers["Cache-Control"] = kKept;
  return reply;
}

/// Into the gallery; the fields of its record are read as for a picture of ours.
Reply add(Parts& parts, const Call& call) {
  Upload upload(parts, call, {});
  (void)upload.check_picture();
  const auto path =
      upload.place("gallery/added-" + timestamp().substr(0, 10) + ".png", IfTaken::kOtherName);
  const auto picture = parts.gallery.add(path, std::nullopt, record_of(parts, path));
  if (!picture) {
    parts.folder.discard(path);
    throw Refused(415, "the gallery takes PNG alone");
  }
  parts.events.tell("gallery", {{"added", {picture->id}}});
  return json_reply(to_json(*picture), 201);
}

Reply remove(Parts& parts, const Call& call) {
  const auto body = json_body(call);
  refuse_unknown_keys(body, {"ids"});
  const auto ids = field<std::vector<std::int64_t>>(body, "ids", {});
  std::vector<Picture> pictures;
  for (const auto id : std::set<std::int64_t>(ids.begin(), ids.end())) {
    pictures.push_back(required(parts, id));
  }
  Json moved = Json::array();
  for (const auto& picture : pictures) {
    for (auto& entry : parts.gallery.discard(picture)) moved.push_back(std::move(entry));
  }
  parts.events.tell("gallery", {{"removed", ids}});
  return discarded_reply(moved);
}

/// The archive is a file of its own, gone once it is sent.
Reply archive(Parts& parts, const Call& call) {
  const auto found = call.query.find("ids");
  std::vector<fs::path> files;
  for (const auto& word : split_words(found == call.query.end() ? "" : found->second)) {
    const auto id = number_in<std::int64_t>(word);
    if (!id) throw Refused(400, "ids are numbers with commas between them");
    files.push_back(parts.folder.inside(required(parts, *id).path));
  }
  if (files.empty() || files.size() > kMostAtOnce) throw Refused(400, "ids names no pictures");
  const auto place = parts.folder.root() / ".incoming" / (random_token() + ".zip");
  std::error_code ignored;
  fs::create_directories(place.parent_path(), ignored);
  write_zip(place, files);
  Reply reply{.type = "application/zip", .file = place, .file_is_temporary = true};
  reply.headers["Content-Disposition"] = "attachment; filename=\"pictures.zip\"";
  return reply;
}

Reply read_record(Parts& parts, const Call& call) {
  return json_reply(Upload(parts, call, {}).ask("record"));
}

}  // namespace

Json record_of(const Parts& parts, const std::string& path) {
  try {
    return parts.reader.ask({{"do", "record"}, {"file", path}});
  } catch (const Error&) {  // a picture like any other
    return nullptr;
  }
}

void read_records(Parts& parts, const std::stop_token& stop) {
  const auto read = [&parts](const std::string& path) { return record_of(parts, path); };
  while (!stop.stop_requested()) {
    const auto id = parts.gallery.read_next(read);
    if (!id) return;
    if (*id > 0) parts.events.tell("gallery", {{"changed", {*id}}});
  }
}

std::vector<Route> gallery_routes(Parts& parts) {
  const auto with = [&parts](Reply (*handle)(Parts&, const Call&)) {
    return [&parts, handle](const Call& call) { return handle(parts, call); };
  };
  const std::string one = "/mos/v1/gallery/{id}";
  return {
      {"GET", "/mos/v1/gallery", with(list), {"search", "starred", "limit", "before"}},
      {"POST", "/mos/v1/gallery", with(add)},
      {"GET", "/mos/v1/gallery/archive", with(archive), {"ids"}},
      {"POST", "/mos/v1/gallery/delete", with(remove)},
      {"GET", one, with(show)},
      {"PATCH", one, with(change)},
      {"GET", one + "/picture", with(picture)},
      {"GET", one + "/thumbnail", with(thumbnail)},
      {"POST", "/mos/v1/pictures/read", with(read_record)},
  };
}

}  // namespace mos::studio
