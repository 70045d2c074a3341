#include "mos/studio/forms.h"

#include <fmt/core.h>
#include <fmt/ranges.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <utility>

#include "mos/base/text_distance.h"
#include "mos/studio/http.h"
#include "mos/studio/process.h"

namespace mos::studio {
namespace {

/// Those of the command line, and those that name files which name files: their paths would not be
/// seen here.
constexpr std::array<std::string_view, 12> kNotOfRequests = {
    "config", "check", "dry_run",      "list_schedulers", "list_keys", "rerun",
    "scene",  "json",  "concept_list", "original_config", "help",      "progress"};

Json without_hidden(Json schema) {
  for (const auto name : kNotOfRequests) schema["properties"].erase(std::string(name));
  return schema;
}

/// Of the file `program`, as it is now.
std::string build_of(const std::filesystem::path& program) {
  struct stat status {};
  if (stat(program.c_str(), &status) != 0) {
    throw Error(ErrorKind::kIo,
                fmt::format("{} is not there: the studio works with it", program.string()));
  }
  return fmt::format("{}-{}-{}", status.st_ino, status.st_size, status.st_mtime);
}

}  // namespace

const std::vector<std::string>& job_kinds() {
  static const std::vector<std::string> kinds = {"tune",      "fuse",    "sample",
                                                 "condition", "convert", "evaluate"};
  return kinds;
}

bool takes_config(const std::string& kind) {
  return kind == "tune" || kind == "fuse" || kind == "sample";
}

bool takes_words(const std::string& kind) { return kind == "condition" || kind == "convert"; }

Forms::Forms(std::filesystem::path mos, Database& database)
    : mos_(std::move(mos)), database_(database) {
  database_.execute(
      "CREATE TABLE IF NOT EXISTS answers (question TEXT PRIMARY KEY, build TEXT NOT NULL,"
      " answer TEXT NOT NULL)");
}

std::string Forms::ask(const std::vector<std::string>& arguments) {
  constexpr std::chrono::seconds kPatience{60};
  const auto question = fmt::format("{}", fmt::join(arguments, " "));
  const auto build = build_of(mos_);
  {
    Statement select(database_, "SELECT answer FROM answers WHERE question = ? AND build = ?");
    select.bind(question).bind(build);
    if (select.step()) return select.text(0);
  }
  std::vector<std::string> command = {mos_.string()};
  command.insert(command.end(), arguments.begin(), arguments.end());
  const auto captured = run_captured(command, "/", kPatience);
  if (captured.exit_code != 0) {
    throw Error(ErrorKind::kIo, fmt::format("mos {} failed: {}", question, captured.talk));
  }
  Statement insert(database_, "INSERT OR REPLACE INTO answers VALUES (?, ?, ?)");
  insert.bind(question).bind(build).bind(captured.output).run();
  return captured.output;
}

const Json& Forms::schema(const std::string& kind) {
  const auto& kinds = job_kinds();
  if (std::ranges::find(kinds, kind) == kinds.end()) {
    throw Refused(400,
                  fmt::format("there is no kind of job \"{}\"{}", kind, did_you_mean(kind, kinds)));
  }
  const std::lock_guard lock(mutex_);
  if (schemas_.empty()) {
    const auto all = parse_json(ask({"help", "json"}), "the options of mos");
    for (const auto& one : kinds) schemas_[one] = without_hidden(all.at(one));
  }
  return schemas_.at(kind);
}

void Forms::warm_up(const std::stop_token& stop) {
  (void)schema(job_kinds().front());
  if (!stop.stop_requested()) (void)schedulers();
}

Json Forms::all() {
  Json all = Json::object();
  for (const auto& kind : job_kinds()) all[kind] = schema(kind);
  return all;
}

const Json& Forms::methods(Reader& reader) {
  const std::lock_guard lock(mutex_);
  if (methods_.is_null()) methods_ = reader.ask({{"do", "methods"}});
  return methods_;
}

const std::string& Forms::schedulers() {
  const std::lock_guard lock(mutex_);
  if (schedulers_.empty()) schedulers_ = ask({"sample", "--list-schedulers"});
  return schedulers_;
}

}  // namespace mos::studio
