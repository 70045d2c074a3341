#include <fmt/core.h>

#include <ctime>

#include "mos/base/text.h"
#include "mos/studio/base64.h"
#include "mos/studio/painting.h"

/// OpenAI's way to ask for pictures.
namespace mos::studio {
namespace {

/// "512x768" as {width, height}.
void take_size(const std::string& size, Json& options) {
  if (size.empty() || size == "auto") return;
  const auto cross = size.find('x');
  const auto width = number_in<std::int64_t>(size.substr(0, cross));
  const auto height =
      cross == size.npos ? std::nullopt : number_in<std::int64_t>(size.substr(cross + 1));
  if (!width || !height) throw Refused(400, "size is \"WIDTHxHEIGHT\" or \"auto\"");
  options["width"] = *width;
  options["height"] = *height;
}

Json request_of(Parts& parts, const Json& body) {
  refuse_unknown_keys(body, {"prompt", "n", "size", "model", "response_format", "user"});
  const auto format = field<std::string>(body, "response_format", "b64_json");
  if (format != "b64_json") throw Refused(400, "response_format can only be \"b64_json\" here");
  Json options = {{"prompt", field<std::string>(body, "prompt", "")}, {"seed", random_seed()}};
  if (options["prompt"] == "") throw Refused(400, "\"prompt\" is missing");
  options["count"] = field<std::int64_t>(body, "n", 1);
  take_size(field<std::string>(body, "size", "auto"), options);
  const auto model = field<std::string>(body, "model", "");
  if (!model.empty()) {
    options["base"] = model_named(parts.folder, model);
    if (options["base"] == "") throw Refused(404, "there is no model " + printable(model));
  }
  return {{"kind", "sample"}, {"options", options}};
}

Reply generate(Parts& parts, const Call& call) {
  const auto painted = paint(parts, request_of(parts, json_body(call)));
  Json data = Json::array();
  for (const auto& bytes : painted.pictures) data.push_back({{"b64_json", base64_encode(bytes)}});
  return json_reply({{"created", static_cast<std::int64_t>(std::time(nullptr))}, {"data", data}});
}

Reply models(Parts& parts) {
  Json data = Json::array();
  for (const auto& model : models_of(parts.folder)) {
    data.push_back(
        {{"id", model.at("path")}, {"object", "model"}, {"created", 0}, {"owned_by", "you"}});
  }
  return json_reply({{"object", "list"}, {"data", data}});
}

}  // namespace

std::vector<Route> openai_routes(Parts& parts) {
  return {
      {"POST", "/v1/images/generations",
       [&parts](const Call& call) { return generate(parts, call); }},
      {"GET", "/v1/models", [&parts](const Call&) { return models(parts); }},
  };
}

}  // namespace mos::studio
