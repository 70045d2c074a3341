#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "mos/base/json.h"
#include "mos/eval/statistics.h"
#include "mos/study/plan.h"
#include "mos/study/workbench.h"

/// From the figures of cells to the rows of tables.
namespace mos::study {

/// A row as it is told.
struct RowResult {
  std::string name, against, group;
  Json settings;
  std::string failed;  ///< Why there are no figures; empty: there are.
  /// By name. Of one concept: text, image, first, dino, each the mean of the means of the
  /// categories; of several: own, margin.
  std::map<std::string, eval::Interval> figures;
  /// The same minus those of the row `against`, prompt by prompt and seed by seed.
  std::map<std::string, eval::Interval> changes;
  std::optional<eval::Interval> positive;    ///< Of several: share of margins above 0.
  std::map<std::string, double> of_subject;  ///< Image alignment by concept.
  /// Of some prompts, the folder of the painting.
  std::vector<std::pair<std::string, std::filesystem::path>> paintings;
};

struct TableResult {
  std::string part, title, note;
  bool of_several = false;
  std::vector<RowResult> rows;
  std::vector<std::string> subjects;  ///< Whose pictures these are.
};

/// The folders of cells that are done.
struct Done {
  const CellStore& store;
  const Plan& plan;

  std::filesystem::path measure(const std::string& key) const;
  std::filesystem::path painting_of(const std::string& measure) const;
};

/// Everything of `table` must be done. Throws kUsage for a row that is told from none.
TableResult result_of(const PlannedTable& table, const Done& done);

/// The rows of `table` that are the best of their group by image alignment, where that is better
/// than the row that they are told from by more than the interval of the change.
std::vector<std::string> best_of_groups(const TableResult& table);

Json to_json(const TableResult& table);

}  // namespace mos::study
