#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <system_error>

#include "mos/base/file.h"
#include "mos/base/text.h"
#include "mos/base/text_distance.h"
#include "mos/studio/claims.h"
#include "mos/studio/job_order.h"
#include "mos/studio/job_talk.h"
#include "mos/studio/parts.h"

namespace mos::studio {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMostLines = 1000;
constexpr std::size_t kMostPoints = 2000;

Json shown(Parts& parts, const std::vector<Job>& jobs) {
  Json list = Json::array();
  for (const auto& job : jobs) list.push_back(parts.runner.shown(job));
  return list;
}

Refused no_choice(const char* name, const std::string& given,
                  const std::vector<std::string>& choices) {
  return {400, fmt::format("{} is \"{}\", expected one of {}{}", name, printable(given),
                           fmt::join(choices, ", "), did_you_mean(given, choices))};
}

JobFilter filter_of(const Call& call) {
  JobFilter filter{.before = call.number("before", 0, 0, INT64_MAX),
                   .limit = call.number("limit", 100, 1, 1000)};
  const auto state = call.query.find("state"), kind = call.query.find("kind");
  if (state != call.query.end()) {
    filter.state = choice_named<JobState>(state->second);
    if (!filter.state) throw no_choice("state", state->second, names_of_choices<JobState>());
  }
  if (kind != call.query.end()) {
    filter.kind = kind->second;
    if (std::ranges::find(job_kinds(), filter.kind) == job_kinds().end()) {
      throw no_choice("kind", filter.kind, job_kinds());
    }
  }
  return filter;
}

Reply add(Parts& parts, const Json& request) {
  const auto job = parts.runner.add(make_order(request, parts));
  return json_reply(parts.runner.shown(job), 201);
}

/// The request that an order came from, without the place of its results.
Json request_of(const JobOrder& order) {
  Json request = {{"kind", order.kind},
                  {"options", order.options},
                  {"words", order.words},
                  {"title", order.title},
                  {"dry_run", order.dry_run}};
  for (const auto& name : written_options()) request["options"].erase(name);
  if (!order.scene.is_null()) request["scene"] = order.scene;
  return request;
}

Reply repeat(Parts& parts, const Call& call) {
  const auto job = parts.runner.find(call.id());
  const auto body = json_body(call);
  refuse_unknown_keys(body, {"options"});
  auto request = request_of(job.order);
  const auto more = field<Json>(body, "options", Json::object());
  if (!more.is_object()) throw Refused(400, "\"options\" must be an object");
  request["options"].update(more);
  return add(parts, request);
}

Reply check(Parts& parts, const Call& call) {
  Json problems = Json::array();
  std::string command;
  const auto request = json_body(call);
  try {
    command = command_text({.order = make_order(request, parts)});
  } catch (const Impossible& impossible) {
    problems = impossible.problems();
  } catch (const Refused& refused) {
    problems.push_back(refused.what());
  }
  return json_reply({{"problems", problems}, {"command", command}});
}

Reply move(Parts& parts, const Call& call) {
  const auto body = json_body(call);
  refuse_unknown_keys(body, {"position"});
  const auto job = parts.runner.move(call.id(), field<std::int64_t>(body, "position", 0));
  return json_reply(parts.runner.shown(job));
}

Reply report(Parts& parts, const Call& call) {
  const auto job = parts.runner.find(call.id());
  const auto place = parts.folder.root() / job.folder();
  std::error_code ignored;
  if (job.order.kind == "evaluate" && job.state == JobState::kDone) {
    return json_reply(read_json_file(place / "results.txt"));
  }
  const auto own = field<std::string>(job.order.options, "report", "");
  const auto file = own.empty() ? place / "fusion_report.json" : parts.folder.inside(own);
  if (job.order.kind != "fuse" || !fs::is_regular_file(file, ignored)) {
    throw Refused(404, "job " + std::to_string(job.id) + " has no report");
  }
  return json_reply(read_json_file(file));
}

/// A handler of what is done to one job.
Handler action(Parts& parts, Job (Runner::*act)(std::int64_t)) {
  return [&parts, act](const Call& call) {
    (void)json_body(call);  // of nobody's form
    return json_reply(parts.runner.shown((parts.runner.*act)(call.id())));
  };
}

fs::path events_of(Parts& parts, const Call& call) {
  return parts.folder.root() / parts.runner.find(call.id()).folder() / "events.jsonl";
}

}  // namespace

std::vector<Route> job_routes(Parts& parts) {
  return {
      {"POST", "/mos/v1/jobs", [&](const Call& call) { return add(parts, json_body(call)); }},
      {"GET",
       "/mos/v1/jobs",
       [&](const Call& call) {
         return json_reply({{"jobs", shown(parts, parts.runner.list(filter_of(call)))}});
       },
       {"state", "kind", "limit", "before"}},
      {"GET", "/mos/v1/queue",
       [&](const Call&) {
         return json_reply({{"queue", shown(parts, parts.runner.queue())}});
       }},
      {"POST", "/mos/v1/check", [&](const Call& call) { return check(parts, call); }},
      {"GET", "/mos/v1/jobs/{id}",
       [&](const Call& call) {
         return json_reply(parts.runner.shown(parts.runner.find(call.id())));
       }},
      {"DELETE", "/mos/v1/jobs/{id}",
       [&](const Call& call) {
         parts.runner.remove(call.id());
         return done_reply();
       }},
      {"POST", "/mos/v1/jobs/{id}/cancel", action(parts, &Runner::cancel)},
      {"POST", "/mos/v1/jobs/{id}/pause", action(parts, &Runner::pause)},
      {"POST", "/mos/v1/jobs/{id}/resume", action(parts, &Runner::resume)},
      {"POST", "/mos/v1/jobs/{id}/save", action(parts, &Runner::save)},
      {"POST", "/mos/v1/jobs/{id}/sample", action(parts, &Runner::sample)},
      {"POST", "/mos/v1/jobs/{id}/repeat", [&](const Call& call) { return repeat(parts, call); }},
      {"POST", "/mos/v1/jobs/{id}/move", [&](const Call& call) { return move(parts, call); }},
      {"GET", "/mos/v1/jobs/{id}/log",
       [&](const Call& call) { return json_reply(log_of(events_of(parts, call), kMostLines)); }},
      {"GET", "/mos/v1/jobs/{id}/curve",
       [&](const Call& call) { return json_reply(curve_of(events_of(parts, call), kMostPoints)); }},
      {"GET", "/mos/v1/jobs/{id}/report", [&](const Call& call) { return report(parts, call); }},
  };
}

}  // namespace mos::studio
