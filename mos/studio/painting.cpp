#include "mos/studio/painting.h"

#include <fmt/core.h>
#include <sys/random.h>

#include <sstream>

#include "mos/base/base64.h"
#include "mos/base/file.h"
#include "mos/base/text.h"
#include "mos/studio/job_order.h"
#include "mos/studio/uploads.h"

namespace mos::studio {
namespace {

namespace fs = std::filesystem;

constexpr std::chrono::seconds kPatience{24 * 3600};

/// Of a job that failed: who asked for the impossible hears it as if it had been seen at once.
int status_of(const Json& error) {
  const auto kind = error.value("kind", "");
  if (kind == "usage") return 400;
  return kind == "io" || kind == "format" || kind == "mismatch" ? 422 : 500;
}

Job wait_for(Parts& parts, std::int64_t id) {
  if (!parts.runner.wait_until_over(id, kPatience)) {
    throw Refused(503, fmt::format("job {} goes on, but the studio ends", id));
  }
  auto job = parts.runner.find(id);
  if (job.state == JobState::kDone) return job;
  if (job.state == JobState::kFailed) {
    throw Refused(status_of(job.error), job.error.value("message", "the job failed"));
  }
  throw Refused(409, fmt::format("job {} was {}: {}", id, choice_name(job.state), job.note));
}

}  // namespace

Painted paint(Parts& parts, const Json& request,
              const std::function<void(std::int64_t id)>& queued) {
  const auto id = parts.runner.add(make_order(request, parts)).id;
  if (queued) queued(id);
  Painted painted{.job = wait_for(parts, id)};
  for (const auto& path : painted.job.results) {
    painted.pictures.push_back(read_whole_file(parts.folder.root() / path));
    const auto record = parts.reader.ask({{"do", "record"}, {"file", path}});
    painted.infotexts.push_back(record.value("infotext", ""));
    painted.seeds.push_back(record.at("options").value("seed", std::int64_t{0}));
  }
  return painted;
}

void check_count(const std::string& field, std::int64_t count) {
  constexpr std::int64_t kMost = 1000;  // they are waited for, and answered in one body
  if (count >= 1 && count <= kMost) return;
  throw Refused(400, fmt::format("{} is {}, expected 1 to {}", field, count, kMost));
}

std::string keep_upload(Parts& parts, const std::string& base64, const std::string& name) {
  std::string_view text = base64;
  constexpr std::string_view kMark = ";base64,";
  if (text.starts_with("data:")) {
    const auto mark = text.find(kMark);
    text.remove_prefix(mark == text.npos ? 0 : mark + kMark.size());
  }
  const auto bytes = base64_decode(text);
  if (!bytes || bytes->empty()) throw Refused(400, name + " is no picture in base64");
  Upload upload(parts, *bytes, name);
  (void)upload.check_picture();  // throws
  return upload.place("uploads/request.png", IfTaken::kOtherName);
}

std::string model_named(const StudioFolder& folder, const std::string& name) {
  for (const auto& model : models_of(folder)) {
    const auto path = model.at("path").get<std::string>();
    const fs::path file(path);
    if (path == name || file.filename() == name || file.stem() == name) return path;
  }
  return "";
}

std::int64_t random_seed() {
  std::uint32_t seed = 0;
  if (getrandom(&seed, sizeof seed, 0) != static_cast<ssize_t>(sizeof seed)) return 0;
  return seed;
}

namespace {

/// The parts of `line` between two or more blanks.
std::vector<std::string> columns_of(const std::string& line) {
  std::vector<std::string> columns;
  for (std::size_t begin = 0; begin < line.size();) {
    const auto end = std::min(line.find("  ", begin), line.size());
    columns.push_back(line.substr(begin, end - begin));
    begin = std::min(line.find_first_not_of(' ', end), line.size());
  }
  return columns;
}

}  // namespace

SamplerNames sampler_names(Forms& forms) {
  SamplerNames names;
  std::vector<std::array<std::string, 2>>* table = nullptr;
  std::istringstream text(forms.schedulers());
  for (std::string line; std::getline(text, line);) {
    if (line.starts_with("--scheduler")) {
      table = &names.schedulers;
    } else if (line.starts_with("--sigmas")) {
      table = &names.sigmas;
    } else if (line.empty()) {
      table = nullptr;
    } else if (const auto columns = columns_of(line); table != nullptr && columns.size() > 1) {
      table->push_back({columns[0], columns[1] == "-" ? columns[0] : columns[1]});
    }
  }
  return names;
}

}  // namespace mos::studio
