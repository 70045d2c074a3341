#include <fmt/core.h>

#include "mos/studio/parts.h"

namespace mos::studio {
namespace {

Json to_json(const Project& project) {
  return {{"id", project.id},
          {"title", project.title},
          {"changed", project.changed},
          {"content", project.content}};
}

Project required(Parts& parts, const Call& call) {
  auto project = parts.projects.find(call.id());
  if (!project) throw Refused(404, fmt::format("there is no project {}", call.id()));
  return std::move(*project);
}

/// `project` with what the body says.
Reply save(Parts& parts, Project project, const Call& call) {
  const auto body = json_body(call);
  refuse_unknown_keys(body, {"title", "content"});
  project.title = field<std::string>(body, "title", "");
  project.content = field<Json>(body, "content", Json::object());
  if (!project.content.is_object()) throw Refused(400, "\"content\" must be an object");
  const int status = project.id == 0 ? 201 : 200;
  return json_reply(to_json(parts.projects.save(std::move(project))), status);
}

Reply list(Parts& parts) {
  Json projects = Json::array();
  for (const auto& project : parts.projects.list()) {
    projects.push_back(
        {{"id", project.id}, {"title", project.title}, {"changed", project.changed}});
  }
  return json_reply({{"projects", projects}});
}

}  // namespace

std::vector<Route> project_routes(Parts& parts) {
  return {
      {"GET", "/mos/v1/projects", [&parts](const Call&) { return list(parts); }},
      {"POST", "/mos/v1/projects", [&parts](const Call& call) { return save(parts, {}, call); }},
      {"GET", "/mos/v1/projects/{id}",
       [&parts](const Call& call) { return json_reply(to_json(required(parts, call))); }},
      {"PUT", "/mos/v1/projects/{id}",
       [&parts](const Call& call) { return save(parts, required(parts, call), call); }},
      {"DELETE", "/mos/v1/projects/{id}",
       [&parts](const Call& call) {
         parts.projects.remove(required(parts, call).id);
         return done_reply();
       }},
  };
}

}  // namespace mos::studio
