#pragma once

#include "mos/study/parts.h"
#include "mos/study/study.h"

namespace mos::study {

/// Concepts and prompts of a study, checked. `options` must be complete.
struct Setting {
  StudyOptions options;
  Prompts prompts;
  Ground ground;  ///< Refers to the two above.

  explicit Setting(StudyOptions given);
  Setting(const Setting&) = delete;
  Setting& operator=(const Setting&) = delete;
};

/// Adds the tables of part `name` to the plan.
void add_part(const Ground& ground, const std::string& name, Plan& plan);

/// What a cell's time is counted by, see Timings.
struct Work {
  std::string name;
  double units = 1.0;
};
Work work_of(const TuneCell& cell);
Work work_of(const MergeCell& cell);
Work work_of(const PaintCell& cell, const StudyOptions& options);

}  // namespace mos::study
