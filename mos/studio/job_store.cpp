#include "mos/studio/job_store.h"

#include <fmt/core.h>

#include <algorithm>

namespace mos::studio {
namespace {

constexpr const char* kTable =
    "CREATE TABLE IF NOT EXISTS jobs (id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL,"
    " state TEXT NOT NULL, place INTEGER NOT NULL, job_order TEXT NOT NULL, times TEXT NOT NULL,"
    " outcome TEXT NOT NULL, minder INTEGER NOT NULL, minder_start TEXT NOT NULL,"
    " intent TEXT NOT NULL);"
    "CREATE INDEX IF NOT EXISTS jobs_by_state ON jobs (state, place);";

constexpr const char* kColumns =
    "SELECT id, state, place, job_order, times, outcome, minder, minder_start, intent FROM jobs ";

Json order_json(const JobOrder& order) {
  return {{"kind", order.kind},    {"title", order.title}, {"options", order.options},
          {"scene", order.scene},  {"words", order.words}, {"dry_run", order.dry_run},
          {"device", order.device}};
}

JobOrder order_of(const Json& json) {
  return {.kind = json.at("kind"),
          .title = json.at("title"),
          .options = json.at("options"),
          .scene = json.at("scene"),
          .words = json.at("words"),
          .dry_run = json.at("dry_run"),
          .device = json.at("device")};
}

std::string times_text(const Job& job) {
  return json_text(Json::array({job.created, job.started, job.ended}));
}

std::string outcome_text(const Job& job) {
  return json_text({{"progress", job.progress},
                    {"estimate", job.estimate},
                    {"error", job.error},
                    {"previews", job.previews},
                    {"results", job.results},
                    {"note", job.note}});
}

Job job_of(const Statement& row) {
  const auto times = parse_json(row.text(4), "the database");
  const auto outcome = parse_json(row.text(5), "the database");
  return {.id = row.integer(0),
          .order = order_of(parse_json(row.text(3), "the database")),
          .state = choice_named<JobState>(row.text(1)).value_or(JobState::kInterrupted),
          .place = row.integer(2),
          .created = times.at(0),
          .started = times.at(1),
          .ended = times.at(2),
          .progress = outcome.at("progress"),
          .estimate = outcome.at("estimate"),
          .error = outcome.at("error"),
          .previews = outcome.at("previews"),
          .results = outcome.at("results"),
          .note = outcome.at("note"),
          .minder = {static_cast<pid_t>(row.integer(6)), row.text(7)},
          .intent = choice_named<Intent>(row.text(8)).value_or(Intent::kNone)};
}

std::vector<Job> all_of(Statement& statement) {
  std::vector<Job> jobs;
  while (statement.step()) jobs.push_back(job_of(statement));
  return jobs;
}

}  // namespace

JobStore::JobStore(Database& database) : database_(database) { database_.execute(kTable); }

void JobStore::begin_above(std::int64_t id) {
  Statement(database_,
            "INSERT INTO sqlite_sequence (name, seq) SELECT 'jobs', 0 WHERE NOT EXISTS"
            " (SELECT 1 FROM sqlite_sequence WHERE name = 'jobs')")
      .run();
  Statement(database_, "UPDATE sqlite_sequence SET seq = ? WHERE name = 'jobs' AND seq < ?")
      .bind(id)
      .bind(id)
      .run();
}

Job JobStore::add(const JobOrder& order) {
  Job job{.order = order, .created = timestamp()};
  Statement insert(database_,
                   "INSERT INTO jobs (kind, state, place, job_order, times, outcome, minder,"
                   " minder_start, intent) VALUES (?, 'queued',"
                   " (SELECT coalesce(max(place), 0) + 1 FROM jobs), ?, ?, ?, 0, '', 'none')");
  insert.bind(order.kind).bind(json_text(order_json(order))).bind(times_text(job));
  insert.bind(outcome_text(job)).run();
  return *find(database_.last_id());
}

std::optional<Job> JobStore::find(std::int64_t id) {
  Statement select(database_, fmt::format("{} WHERE id = ?", kColumns));
  select.bind(id);
  if (!select.step()) return std::nullopt;
  return job_of(select);
}

void JobStore::save(const Job& job) {
  Statement update(database_,
                   "UPDATE jobs SET state = ?, place = ?, times = ?, outcome = ?, minder = ?,"
                   " minder_start = ?, intent = ? WHERE id = ?");
  update.bind(choice_name(job.state)).bind(job.place).bind(times_text(job));
  update.bind(outcome_text(job)).bind(std::int64_t{job.minder.number}).bind(job.minder.start);
  update.bind(choice_name(job.intent)).bind(job.id).run();
}

void JobStore::remove(std::int64_t id) {
  Statement(database_, "DELETE FROM jobs WHERE id = ?").bind(id).run();
}

std::vector<Job> JobStore::list(const JobFilter& filter) {
  Statement select(database_,
                   fmt::format("{} WHERE (? = '' OR state = ?) AND (? = '' OR kind = ?) AND "
                               "(? = 0 OR id < ?) ORDER BY id DESC LIMIT ?",
                               kColumns));
  const std::string state = filter.state ? choice_name(*filter.state) : "";
  select.bind(state).bind(state).bind(filter.kind).bind(filter.kind);
  select.bind(filter.before).bind(filter.before).bind(filter.limit);
  return all_of(select);
}

std::vector<Job> JobStore::in_order(JobState state) {
  Statement select(database_, fmt::format("{} WHERE state = ? ORDER BY place, id", kColumns));
  select.bind(choice_name(state));
  return all_of(select);
}

std::vector<Job> JobStore::queued() { return in_order(JobState::kQueued); }

std::vector<Job> JobStore::running() { return in_order(JobState::kRunning); }

std::vector<Job> JobStore::unfinished() {
  std::vector<Job> jobs;
  for (const auto state :
       {JobState::kRunning, JobState::kQueued, JobState::kPaused, JobState::kInterrupted}) {
    for (auto& job : in_order(state)) jobs.push_back(std::move(job));
  }
  return jobs;
}

void JobStore::put_last(Job& job) {
  Statement select(database_, "SELECT coalesce(max(place), 0) + 1 FROM jobs");
  select.step();
  job.place = select.integer(0);
}

void JobStore::move(std::int64_t id, std::int64_t position) {
  auto jobs = queued();
  const auto from = std::ranges::find(jobs, id, &Job::id);
  if (from == jobs.end()) return;
  const auto moved = *from;
  jobs.erase(from);
  const auto last = static_cast<std::int64_t>(jobs.size());
  jobs.insert(jobs.begin() + std::clamp<std::int64_t>(position, 0, last), moved);
  std::int64_t place = 0;
  for (auto& job : jobs) {
    Statement update(database_, "UPDATE jobs SET place = ? WHERE id = ?");
    update.bind(++place).bind(job.id).run();
  }
}

}  // namespace mos::studio
