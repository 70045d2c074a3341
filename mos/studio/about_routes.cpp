#include <algorithm>
#include <system_error>

#include "mos/base/file.h"
#include "mos/base/folder.h"
#include "mos/base/text.h"
#include "mos/base/version.h"
#include "mos/studio/described.h"
#include "mos/studio/embedded.h"

namespace mos::studio {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> devices() {
  std::vector<std::string> names = {"cpu"};
  std::error_code ignored;
  for (int i = 0; fs::exists("/dev/nvidia" + std::to_string(i), ignored); ++i) {
    names.push_back("cuda:" + std::to_string(i));
  }
  return names;
}

Reply info(const Parts& parts) {
  return json_reply({{"version", version()},
                     {"folder", parts.folder.root().string()},
                     {"interface", parts.has_interface},
                     {"devices", devices()},
                     {"limits",
                      {{"json", kMostJsonBytes},
                       {"picture", kMostPictureBytes},
                       {"concept_file", kMostConceptBytes},
                       {"streams", kMostStreams}}}});
}

Reply login(const Parts& parts, const Call& call) {
  const auto body = json_body(call);
  refuse_unknown_keys(body, {"token"});
  if (parts.gate.needs_token() && !parts.gate.is_token(field<std::string>(body, "token", ""))) {
    throw Refused(401, "this is not the token that mos studio printed at its start");
  }
  auto reply = done_reply();
  if (parts.gate.needs_token()) reply.headers["Set-Cookie"] = parts.gate.cookie();
  return reply;
}

/// What a model has in `file` in place of the program's options; nothing without one.
Json defaults_in(const fs::path& file) {
  std::error_code ignored;
  if (!fs::is_regular_file(file, ignored)) return Json::object();
  try {
    return read_json_file(file);
  } catch (const Error&) {  // mos says what is wrong with it
    return Json::object();
  }
}

Json adapter(const std::string& path) {
  return {{"path", path}, {"kind", "adapter"}, {"words", Json::array()}, {"size", nullptr}};
}

/// Base models and fused ones with their size, and the adapters that they bring or lie in
/// adapters/.
Json described_models(const Parts& parts) {
  Json all = Json::array();
  std::vector<std::string> adapters;
  const auto add_adapters = [&](const std::string& folder) {
    std::error_code ignored;
    if (!fs::is_directory(parts.folder.root() / folder, ignored)) return;
    for (const auto& path : entries_of(parts.folder.root() / folder)) {
      adapters.push_back(folder + "/" + path.filename().string());
    }
  };
  for (auto& model : models_of(parts.folder)) {
    const auto path = model.at("path").get<std::string>();
    model["words"] = Json::array();
    model["size"] = nullptr;
    model["defaults"] = defaults_in(parts.folder.root() / path / "tune_defaults.json");
    model["painting"] = defaults_in(parts.folder.root() / path / "sample_defaults.json");
    try {
      const auto found = described(parts, "model", path);
      model["words"] = found.value("words", Json::array());
      model["size"] = found.value("size", Json());
      if (found.value("kind", "") == "adapter") model["kind"] = "adapter";
    } catch (const Error&) {  // it is said where it is used
    }
    all.push_back(model);
    if (path.starts_with("models/")) add_adapters(path + "/adapters");
  }
  add_adapters("adapters");
  for (const auto& path : adapters) all.push_back(adapter(path));
  return all;
}

}  // namespace

Json models_of(const StudioFolder& folder) {
  Json models = Json::array();
  for (const std::string place : {"models", "fused"}) {
    for (const auto& path : entries_of(folder.root() / place)) {
      models.push_back(
          {{"path", folder.relative(path)}, {"kind", place == "models" ? "base" : "fused"}});
    }
  }
  return models;
}

std::vector<Route> about_routes(Parts& parts) {
  return {
      {"GET", "/mos/v1/info", [&parts](const Call&) { return info(parts); }},
      {"POST", "/mos/v1/login", [&parts](const Call& call) { return login(parts, call); }},
      {"GET", "/mos/v1/openapi.json",
       [](const Call&) { return Reply{.body = std::string(openapi_text())}; }},
      {"GET", "/mos/v1/capabilities",
       [&parts](const Call&) {
         return json_reply({{"jobs", parts.forms.all()},
                            {"methods", parts.forms.methods(parts.reader)},
                            {"notices", parts.runner.notices()}});
       }},
      {"DELETE", "/mos/v1/notices",
       [&parts](const Call&) {
         parts.runner.forget_notices();
         return done_reply();
       }},
      {"GET", "/mos/v1/models",
       [&parts](const Call&) {
         return json_reply({{"models", described_models(parts)}});
       }},
  };
}

Router make_router(Parts& parts) {
  Router router;
  for (const auto routes :
       {about_routes, job_routes, event_routes, concept_routes, file_routes, gallery_routes,
        project_routes, trash_routes, a1111_routes, openai_routes}) {
    router.add(routes(parts));
  }
  return router;
}

}  // namespace mos::studio
