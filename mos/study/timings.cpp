#include "mos/study/timings.h"

#include "mos/base/error.h"
#include "mos/base/file.h"
#include "mos/base/json.h"
#include "mos/base/record.h"
#include "mos/base/version.h"

namespace mos::study {

Timings::Timings(std::filesystem::path file) : file_(std::move(file)) {
  if (!std::filesystem::exists(file_)) return;
  const auto json = json_value<Json>(read_json_file(file_), "seconds", Json::object());
  for (const auto& [name, sum] : json.items()) {
    sums_[name] = {json_required<double>(sum, "units"), json_required<double>(sum, "seconds")};
  }
}

void Timings::add(const std::string& name, double units, double seconds) {
  auto& sum = sums_[name];
  sum.units += units;
  sum.seconds += seconds;
}

void Timings::save() const {
  Json json = {{kProgramKey, version()}, {"seconds", Json::object()}};
  for (const auto& [name, sum] : sums_) {
    json["seconds"][name] = {{"units", sum.units}, {"seconds", sum.seconds}};
  }
  write_text_file(file_, json_text(json, 2) + "\n");
}

double Timings::seconds_per_unit(const std::string& name, double fallback) const {
  const auto found = sums_.find(name);
  return found == sums_.end() || found->second.units <= 0.0
             ? fallback
             : found->second.seconds / found->second.units;
}

}  // namespace mos::study
