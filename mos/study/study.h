#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "mos/jobs/context.h"
#include "mos/jobs/estimate.h"
#include "mos/study/options.h"
#include "mos/study/result.h"

namespace mos::study {

struct StudyReport {
  StudyOptions options;  ///< Complete.
  std::vector<Subject> subjects;
  /// By concept, what its figures image, first and dino can reach: its own pictures among
  /// themselves; none of a single picture.
  std::map<std::string, std::map<std::string, double>> ceilings;
  std::vector<TableResult> tables;
  std::vector<std::string> chosen;  ///< Settings that did better where they are chosen.
  Json versions;
  std::vector<std::string> to_come;  ///< Parts whose tables are not there yet.
  std::set<std::string> failures;    ///< What could not be made, a sentence each.
};

/// Makes what is missing, part by part, and after each writes study.json, study.md, study.html and
/// preference.html with its key into options.out. A study that is interrupted, or continued with
/// more parts, concepts or prompts, goes on from the cells that are there. What cannot be made is a
/// failure of its rows in the report and no more. Throws mos::Error: kUsage for options, parts and
/// concepts that cannot be, and where cells of other options would be made anew without
/// options.anew; kIo, kDevice, kCancelled.
StudyReport run(const StudyOptions& options, const jobs::JobContext& context = {});

/// What a study has and lacks.
struct Forecast {
  struct Count {
    std::int64_t done = 0, missing = 0;
    std::int64_t outdated =
        0;                 ///< Of the missing: made with other options, see StudyOptions::anew.
    double seconds = 0.0;  ///< Of what is not done.
  };
  std::map<std::string, Count> kinds;  ///< By kind of cell.
  jobs::Estimate whole;
};

/// Takes a few steps of everything; writes nothing. The rows that depend on results are not
/// counted.
Forecast forecast(const StudyOptions& options, const jobs::JobContext& context = {});

}  // namespace mos::study
