#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "mos/base/json.h"
#include "mos/eval/statistics.h"
#include "mos/study/judge.h"
#include "mos/study/plan.h"

/// From the figures of cells to the rows of tables.
namespace mos::study {

/// Pictures of one prompt in a row.
struct Painting {
  std::string owners;  ///< The names of who is in them.
  std::string text;    ///< The prompt in plain words; of pictures of several that of the first.
  std::filesystem::path folder;
};

/// A row as it is told.
struct RowResult {
  std::string name, against, group;
  Json settings;
  std::string failed;    ///< Why it has no figures, though it should have; empty: it has.
  std::string left_out;  ///< Why it was never to have any; empty: it was.
  /// By name. Of one concept: text, image, first, dino, each the mean of the means of the
  /// categories, and also, the image alignment of those that the table tells apart; of several:
  /// text, own, margin, means over regions and groups.
  std::map<std::string, eval::Interval> figures;
  /// The same minus those of the row `against`, tuning by tuning, prompt by prompt, seed by seed.
  std::map<std::string, eval::Interval> changes;
  std::optional<eval::Interval> positive;    ///< Of several: share of margins above 0.
  std::map<std::string, double> of_subject;  ///< Image alignment by concept.
  std::int64_t tunings = 0;         ///< Of each concept, which are drawn, too; 0: nothing is tuned.
  std::int64_t in_model = 0;        ///< Concepts in the model that it is painted with.
  std::vector<Painting> paintings;  ///< Tuning by tuning, and in it prompt by prompt.
};

struct TableResult {
  std::string part, title, note;
  bool of_several = false;
  std::vector<RowResult> rows;
  std::vector<std::string> subjects;                 ///< Whose pictures these are.
  std::int64_t least_prompts = 0, most_prompts = 0;  ///< Of each concept, or group of them.
  std::size_t also = 0;                              ///< How many concepts are told apart; 0: none.
};

/// The folders of cells that are done.
struct Done {
  const CellStore& store;
  const Plan& plan;

  std::filesystem::path measure(const std::string& key) const;
  std::filesystem::path painting_of(const std::string& measure) const;
};

/// Everything of `table` must be done, but for the rows that failed, which have no figures. Throws
/// kUsage for a row that is told from none.
TableResult result_of(const PlannedTable& table, const Done& done);

/// How much text alignment, of 2.5 at most, a setting may cost on average to be chosen for its
/// image alignment: less than the intervals of most changes are wide, so that no identity is bought
/// with what the prompt says.
inline constexpr double kTextTolerance = 0.05;

/// The rows of `table` that are the best of their group: whose image alignment is better than that
/// of the row that they are told from by more than the interval of the change, and whose text
/// alignment is no more than kTextTolerance below; of these the one that gains most.
std::vector<std::string> best_of_groups(const TableResult& table);

Json to_json(const TableResult& table);

}  // namespace mos::study
