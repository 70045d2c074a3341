#include <fmt/core.h>

#include <system_error>

#include "mos/base/folder.h"
#include "mos/base/text.h"
#include "mos/studio/claims.h"
#include "mos/studio/described.h"
#include "mos/studio/thumbnails.h"
#include "mos/studio/trash.h"
#include "mos/studio/uploads.h"

namespace mos::studio {
namespace {

namespace fs = std::filesystem;

/// A concept file as lists have it.
Json listed_file(const Parts& parts, const std::string& path) {
  std::error_code ignored;
  Json file = {{"path", path},
               {"bytes", fs::file_size(parts.folder.root() / path, ignored)},
               {"words", Json::array()},
               {"made_by", nullptr},
               {"problem", nullptr}};
  try {
    file.update(described(parts, "concept_file", path));
  } catch (const Error& error) {
    file["problem"] = error.what();
  }
  return file;
}

Reply list(Parts& parts) {
  Json files = Json::array();
  for (const auto& path : concept_files_of(parts.folder)) files.push_back(listed_file(parts, path));
  return json_reply({{"files", files}});
}

Reply put_concept(Parts& parts, const Call& call) {
  const auto& name = call.name("file");
  check_name("the file", name);
  if (!name.ends_with(".safetensors") && !name.ends_with(".pt") && !name.ends_with(".pth") &&
      !name.ends_with(".bin") && !name.ends_with(".ckpt")) {
    throw Refused(415, "concept files end in .safetensors, .pt, .pth, .bin or .ckpt");
  }
  const auto path = "concept-files/" + name;
  std::error_code ignored;
  if (fs::exists(parts.folder.inside(path, Access::kWrite), ignored)) {
    throw Refused(409, fmt::format("there is already {}", path));
  }
  refuse_claimed(parts.runner.claims({}), "the file", path);
  Upload upload(parts, call, {.most = kMostConceptBytes, .name = name});
  (void)upload.ask("concept_file");  // throws
  upload.place(path, IfTaken::kRefuse);
  parts.events.tell("files", Json::object());
  return json_reply(listed_file(parts, path), 201);
}

Reply delete_concept(Parts& parts, const Call& call) {
  const auto path = "concept-files/" + call.name("file");
  std::error_code ignored;
  if (!fs::exists(parts.folder.inside(path, Access::kWrite), ignored)) {
    throw Refused(404, fmt::format("there is no {}", printable(path)));
  }
  const auto moved = discard_all(parts.folder, {path});
  parts.events.tell("files", Json::object());
  return discarded_reply(moved);
}

Reply put_upload(Parts& parts, const Call& call) {
  check_picture_name(call.name("file"));
  Upload upload(parts, call, {.name = call.name("file")});
  const auto picture = upload.check_picture();
  const auto path = upload.place("uploads/" + call.name("file"), IfTaken::kOtherName);
  return json_reply({{"path", path}, {"width", picture.width}, {"height", picture.height}}, 201);
}

/// Models are not sent. Throws Refused(404) for what is not there either.
fs::path file_to_send(const Parts& parts, const std::string& path) {
  const auto top = path.substr(0, path.find('/'));
  auto place = parts.folder.inside(path);
  std::error_code ignored;
  if (top == "models" || top == "fused" || top == "trash" || !fs::is_regular_file(place, ignored)) {
    throw Refused(404, fmt::format("there is no {}", printable(path)));
  }
  return place;
}

Reply get_file(Parts& parts, const Call& call) {
  const auto place = file_to_send(parts, call.name("path"));
  Reply reply{.type = content_type(place), .file = place};
  reply.headers["Cache-Control"] = "no-cache";
  return reply;
}

Reply get_thumbnail(Parts& parts, const Call& call) {
  (void)file_to_send(parts, call.name("path"));  // throws
  auto reply = thumbnail_reply(parts, call.name("path"));
  reply.headers["Cache-Control"] = "no-cache";
  return reply;
}

}  // namespace

std::vector<std::string> concept_files_of(const StudioFolder& folder) {
  std::vector<std::string> files;
  std::error_code ignored;
  for (const auto& path : entries_of(folder.root() / "concept-files")) {
    const bool is_file = fs::is_regular_file(fs::symlink_status(path, ignored));
    if (is_file && path.extension() != ".checkpoint") files.push_back(folder.relative(path));
  }
  return files;
}

std::vector<Route> file_routes(Parts& parts) {
  return {
      {"GET", "/mos/v1/concept-files", [&parts](const Call&) { return list(parts); }},
      {"PUT", "/mos/v1/concept-files/{file}",
       [&parts](const Call& call) { return put_concept(parts, call); }},
      {"DELETE", "/mos/v1/concept-files/{file}",
       [&parts](const Call& call) { return delete_concept(parts, call); }},
      {"PUT", "/mos/v1/uploads/{file}",
       [&parts](const Call& call) { return put_upload(parts, call); }},
      {"GET",
       "/mos/v1/files/{path}",
       [&parts](const Call& call) { return get_file(parts, call); },
       {"v"}},
      {"GET",
       "/mos/v1/thumbnails/{path}",
       [&parts](const Call& call) { return get_thumbnail(parts, call); },
       {"v"}},
  };
}

}  // namespace mos::studio
