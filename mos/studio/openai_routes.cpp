#include <fmt/core.h>

#include <algorithm>
#include <ctime>
#include <map>
#include <string>
#include <vector>

#include "mos/base/base64.h"
#include "mos/base/text.h"
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

std::string words_of(const std::vector<Json>& values) {
  std::string text;
  for (const auto& value : values) text += (text.empty() ? "" : " or ") + json_text(value);
  return text;
}

/// Fields of OpenAI's own models, in the values that mean what is done here anyway.
void refuse_other_values(const Json& body) {
  static const std::map<std::string, std::vector<Json>> values = {
      {"quality", {"auto", "standard"}},
      {"background", {"auto", "opaque"}},
      {"output_format", {"png"}},
      {"moderation", {"auto", "low"}},
      {"stream", {false}}};
  for (const auto& [key, allowed] : values) {
    const auto found = body.find(key);
    if (found == body.end() || found->is_null()) continue;
    if (std::ranges::find(allowed, *found) != allowed.end()) continue;
    throw Refused(400, fmt::format("\"{}\" can only be {} here", key, words_of(allowed)));
  }
}

Json request_of(Parts& parts, const Json& body) {
  refuse_unknown_keys(body, {"prompt", "n", "size", "model", "response_format", "user", "quality",
                             "background", "output_format", "moderation", "stream"});
  refuse_other_values(body);
  const auto format = field<std::string>(body, "response_format", "b64_json");
  if (format != "b64_json") throw Refused(400, "response_format can only be \"b64_json\" here");
  Json options = {{"prompt", field<std::string>(body, "prompt", "")}, {"seed", random_seed()}};
  if (options["prompt"] == "") throw Refused(400, "\"prompt\" is missing");
  const auto count = field<std::int64_t>(body, "n", 1);
  check_count("\"n\"", count);
  options["count"] = count;
  take_size(field<std::string>(body, "size", "auto"), options);
  const auto model = field<std::string>(body, "model", "");
  if (!model.empty()) {
    options["base"] = model_named(parts.folder, model);
    if (options["base"] == "") {
      throw Refused(404, fmt::format("there is no model {}; GET /v1/models names those that are "
                                     "here, and without \"model\" the first is taken",
                                     printable(model)));
    }
  }
  return {{"kind", "sample"}, {"options", options}};
}

Reply generated(Parts& parts, const Call& call) {
  const auto painted = paint(parts, request_of(parts, json_body(call)));
  Json data = Json::array();
  for (const auto& bytes : painted.pictures) data.push_back({{"b64_json", base64_encode(bytes)}});
  return json_reply({{"created", static_cast<std::int64_t>(std::time(nullptr))}, {"data", data}});
}

/// OpenAI's clients ask once more after 409 and 500 unless they are told: a picture that somebody
/// cancelled would be painted all the same, and what has failed would fail again.
Reply generate(Parts& parts, const Call& call) {
  Reply reply;
  try {
    return generated(parts, call);
  } catch (...) {
    reply = present_error_reply();
  }
  reply.headers["X-Should-Retry"] = "false";
  return reply;
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
