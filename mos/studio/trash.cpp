#include "mos/studio/trash.h"

#include <fmt/core.h>

#include <set>
#include <system_error>

#include "mos/base/file.h"
#include "mos/base/text.h"
#include "mos/studio/claims.h"
#include "mos/studio/parts.h"

namespace mos::studio {
namespace {

namespace fs = std::filesystem;

struct Move {
  std::string path, trash;
};

/// Throws Refused for what was never moved so: 400, 404 where it is gone, 409 where something else
/// is.
Move checked_move(const StudioFolder& folder, const Json& entry) {
  refuse_unknown_keys(entry, {"path", "trash"});
  Move move{field<std::string>(entry, "path", ""), field<std::string>(entry, "trash", "")};
  const auto from = folder.inside(move.trash), to = folder.inside(move.path, Access::kWrite);
  const auto top = move.path.substr(0, move.path.find('/'));
  if (!move.trash.starts_with("trash/") ||
      !std::set<std::string>{"concepts", "concept-files", "gallery"}.contains(top)) {
    throw Refused(400, fmt::format("nothing is moved from \"{}\" to \"{}\"", printable(move.trash),
                                   printable(move.path)));
  }
  std::error_code ignored;
  if (!fs::exists(from, ignored)) {
    throw Refused(404, fmt::format("{} is not there any more", printable(move.trash)));
  }
  if (fs::exists(fs::symlink_status(to, ignored))) {
    throw Refused(409, fmt::format("there is another {} now", printable(move.path)));
  }
  return move;
}

std::vector<Move> checked_moves(const StudioFolder& folder, const Json& body) {
  refuse_unknown_keys(body, {"moved"});
  const auto entries = body.value("moved", Json());
  if (!entries.is_array() || entries.empty()) {
    throw Refused(400,
                  "\"moved\" is what a deletion has answered: a list of {\"path\", \"trash\"}");
  }
  std::vector<Move> moves;
  std::set<std::string> places;
  for (const auto& entry : entries) {
    if (!entry.is_object()) throw Refused(400, "\"moved\" holds something that is no object");
    moves.push_back(checked_move(folder, entry));
    if (places.insert(moves.back().path).second) continue;
    throw Refused(400, fmt::format("\"moved\" has {} twice", printable(moves.back().path)));
  }
  return moves;
}

void move_back(const StudioFolder& folder, const Move& move) {
  const auto to = folder.root() / move.path;
  make_folders(to.parent_path());
  folder.place(folder.root() / move.trash, move.path, IfTaken::kRefuse);
}

/// Lists are told what came back.
void tell(Parts& parts, const std::vector<Move>& moves) {
  Json ids = Json::array();
  std::set<std::string> names;
  bool has_files = false;
  for (const auto& [path, trash] : moves) {
    const auto begin = path.find('/') + 1;
    if (path.starts_with("concepts/"))
      names.insert(path.substr(begin, path.find('/', begin) - begin));
    if (path.starts_with("concept-files/")) has_files = true;
    if (!path.starts_with("gallery/")) continue;
    if (const auto picture = parts.gallery.restore(path, trash)) ids.push_back(picture->id);
  }
  for (const auto& name : names) parts.events.tell("concept", {{"name", name}});
  if (has_files) parts.events.tell("files", Json::object());
  if (!ids.empty()) parts.events.tell("gallery", {{"added", ids}});
}

Reply restore(Parts& parts, const Call& call) {
  const auto moves = checked_moves(parts.folder, json_body(call));
  const auto claims = parts.runner.claims({});
  for (const auto& move : moves) refuse_claimed(claims, "\"path\"", move.path);
  for (const auto& move : moves) move_back(parts.folder, move);
  tell(parts, moves);
  return done_reply();
}

}  // namespace

Json discard_all(const StudioFolder& folder, const std::vector<std::string>& paths) {
  Json moved = Json::array();
  for (const auto& path : paths) {
    const auto trash = folder.discard(path);
    if (!trash.empty()) moved.push_back({{"path", path}, {"trash", trash}});
  }
  return moved;
}

Reply discarded_reply(const Json& moved) { return json_reply({{"done", true}, {"moved", moved}}); }

std::vector<Route> trash_routes(Parts& parts) {
  return {{"POST", "/mos/v1/trash/restore",
           [&parts](const Call& call) { return restore(parts, call); }}};
}

}  // namespace mos::studio
