#pragma once

#include <filesystem>
#include <map>
#include <string>

namespace mos::study {

/// How long cells took on this machine, by what they are a multiple of: "tune ed_lora" by the
/// pictures of its steps, "merge gradient" by its concepts, "paint" by pictures and steps,
/// "measure" by cells. In a file of the study's folder, since no cell depends on it.
class Timings {
 public:
  /// Reads what is there.
  explicit Timings(std::filesystem::path file);

  void add(const std::string& name, double units, double seconds);
  void save() const;
  /// Seconds for each unit; `fallback` where nothing was measured.
  double seconds_per_unit(const std::string& name, double fallback) const;

 private:
  struct Sum {
    double units = 0.0, seconds = 0.0;
  };
  std::filesystem::path file_;
  std::map<std::string, Sum> sums_;
};

}  // namespace mos::study
