#include "mos/study/report.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <map>
#include <numeric>
#include <optional>
#include <set>

#include "mos/base/record.h"
#include "mos/base/text.h"
#include "mos/eval/page.h"
#include "mos/io/image.h"

namespace mos::study {
namespace {

using Cells = std::vector<std::string>;

/// A figure of the table and what it and its change are called there.
struct Column {
  const char* figure;
  const char* heading;
  const char* change;  ///< Null: it is not told.
};
constexpr auto kColumns = std::to_array<Column>({
    {"text", "text alignment", "change of text"},
    {"image", "image alignment", "change of image"},
    {"also", "of the first", "change of these"},
    {"first", "first reference", nullptr},
    {"dino", "DINO", nullptr},
    {"own", "identity", "change of identity"},
    {"margin", "margin", "change of margin"},
});

std::string with_bounds(const eval::Interval& interval) {
  return fmt::format("{:.3f} [{:.3f}, {:.3f}]", interval.mean, interval.low, interval.high);
}

std::string change_text(const eval::Interval& interval) {
  return fmt::format("{:+.3f} [{:+.3f}, {:+.3f}]", interval.mean, interval.low, interval.high);
}

std::string share_text(const eval::Interval& share) {
  return fmt::format("{:.0f} % [{:.0f}, {:.0f}]", 100 * share.mean, 100 * share.low,
                     100 * share.high);
}

using Intervals = std::map<std::string, eval::Interval>;

/// Whether some row has `figure` in `of_row`.
bool any_has(const TableResult& table, Intervals RowResult::*of_row, const char* figure) {
  return std::any_of(table.rows.begin(), table.rows.end(),
                     [&](const RowResult& row) { return (row.*of_row).contains(figure); });
}

/// The columns whose figures, or changes, the table has.
std::vector<Column> columns_of(const TableResult& table, Intervals RowResult::*of_row) {
  std::vector<Column> columns;
  for (const auto& column : kColumns) {
    const bool is_told = of_row == &RowResult::figures || column.change != nullptr;
    if (is_told && any_has(table, of_row, column.figure)) columns.push_back(column);
  }
  return columns;
}

Cells header_of(const TableResult& table) {
  Cells header = {""};
  for (const auto& column : columns_of(table, &RowResult::figures)) {
    const bool is_also = std::string(column.figure) == "also";
    header.push_back(is_also ? fmt::format("{} {}", column.heading, table.also) : column.heading);
  }
  for (const auto& column : columns_of(table, &RowResult::changes)) {
    header.emplace_back(column.change);
  }
  if (table.of_several) header.insert(header.end(), {"margins above 0", "in the model"});
  header.emplace_back("tunings");
  return header;
}

/// Of a row that has no figures: why.
std::string excuse_of(const RowResult& row) {
  if (!row.failed.empty()) return "failed: " + row.failed;
  return row.left_out.empty() ? "" : "left out: " + row.left_out;
}

Cells cells_of(const TableResult& table, const RowResult& row) {
  Cells cells = {row.name};
  if (const auto excuse = excuse_of(row); !excuse.empty()) {
    cells.push_back(excuse);
    cells.resize(header_of(table).size());
    return cells;
  }
  const auto text_of = [&](const Intervals& intervals, const Column& column, auto text) {
    const auto found = intervals.find(column.figure);
    cells.push_back(found == intervals.end() ? "" : text(found->second));
  };
  for (const auto& column : columns_of(table, &RowResult::figures)) {
    text_of(row.figures, column, with_bounds);
  }
  for (const auto& column : columns_of(table, &RowResult::changes)) {
    text_of(row.changes, column, change_text);
  }
  if (table.of_several) {
    cells.push_back(row.positive ? share_text(*row.positive) : "");
    cells.push_back(std::to_string(row.in_model));
  }
  cells.push_back(row.tunings > 0 ? std::to_string(row.tunings) : "");
  return cells;
}

/// How alike the own pictures of the concept `name` are, by `figure`.
std::optional<double> ceiling_of(const StudyReport& report, const std::string& name,
                                 const std::string& figure) {
  const auto of_subject = report.ceilings.find(name);
  if (of_subject == report.ceilings.end()) return {};
  const auto found = of_subject->second.find(figure);
  return found == of_subject->second.end() ? std::nullopt : std::optional(found->second);
}

/// Its mean as the rows of `table` have theirs: of the means of the categories. Nothing where some
/// concept has none, which would be a mean of others than theirs.
std::optional<double> mean_ceiling(const StudyReport& report, const TableResult& table,
                                   const std::string& figure) {
  std::map<std::string, std::vector<double>> by_category;
  for (const auto& name : table.subjects) {
    const auto one = ceiling_of(report, name, figure);
    if (!one) return {};
    by_category[subject_named(report.subjects, name).category].push_back(*one);
  }
  double sum = 0.0;
  for (const auto& [category, values] : by_category) {
    sum += std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
  }
  return by_category.empty() ? std::nullopt
                             : std::optional(sum / static_cast<double>(by_category.size()));
}

/// What alignment with the own pictures can reach, as the last row of tables 1 and 2a.
std::optional<Cells> ceiling_row(const StudyReport& report, const TableResult& table) {
  if (table.part != "table1" && table.part != "table2a") return {};
  Cells cells = {"own pictures (ceiling)"};
  bool has_any = false;
  for (const auto& column : columns_of(table, &RowResult::figures)) {
    const auto ceiling = mean_ceiling(report, table, column.figure);
    cells.push_back(ceiling ? fmt::format("{:.3f}", *ceiling) : "");
    has_any = has_any || ceiling;
  }
  if (!has_any) return {};
  cells.resize(header_of(table).size());
  return cells;
}

std::vector<Cells> rows_of(const StudyReport& report, const TableResult& table) {
  std::vector<Cells> rows;
  for (const auto& row : table.rows) rows.push_back(cells_of(table, row));
  if (const auto ceiling = ceiling_row(report, table)) rows.push_back(*ceiling);
  return rows;
}

std::string markdown_row(const Cells& cells) {
  std::string line = "|";
  for (const auto& cell : cells) line += " " + replaced(cell, "|", "\\|") + " |";
  return line + "\n";
}

/// "report: genie, saxophone", one for each set that has concepts.
std::vector<std::string> sets_text(const StudyReport& report) {
  std::vector<std::string> lines;
  for (const auto& [name, set] : choice_names(Set{})) {
    std::vector<std::string> names;
    for (const auto& subject : report.subjects) {
      if (subject.set == set) names.push_back(subject.name);
    }
    if (!names.empty()) lines.push_back(fmt::format("{}: {}", name, fmt::join(names, ", ")));
  }
  return lines;
}

std::string conditions_text(const StudyReport& report) {
  const auto& o = report.options;
  return fmt::format(
      "All rows share prompts and seeds: pictures from seed {} to {}, {} steps of {}, guidance {}, "
      "perturbed attention {}. Judge: {}. Figures are means; those of one concept are the mean of "
      "the means of the categories, those of pictures of several the mean over regions and groups. "
      "In brackets where 95 % of 2000 resamples lie. In every table prompts and seeds are drawn "
      "with replacement, and tunings where a row has several of each concept; concepts, groups and "
      "regions are not drawn, so brackets say nothing of other concepts. Changes and shares are "
      "drawn in the same way.",
      o.seed, o.seed + static_cast<std::uint64_t>(o.pictures) - 1, o.steps, o.scheduler,
      o.guidance_scale, o.perturbed_attention.value(), o.clip.empty() ? "the base's own" : o.clip);
}

/// Of a study that is not done, which parts are not here; empty for one that is.
std::string to_come_text(const StudyReport& report) {
  if (report.to_come.empty()) return "";
  return fmt::format("Still to come: {}.", fmt::join(report.to_come, ", "));
}

/// Under which conditions the figures of `table` were measured, behind its own note.
std::string note_of(const StudyReport& report, const TableResult& table) {
  const auto& o = report.options;
  auto prompts = fmt::format("{}", table.most_prompts);
  if (table.least_prompts != table.most_prompts) {
    prompts = fmt::format("the first {}, which all have,", table.least_prompts);
  }
  auto note = fmt::format("{} Prompts: {} of each {}, {} pictures of each prompt.", table.note,
                          prompts, table.of_several ? "group" : "concept", o.pictures);
  note +=
      o.text_prefix.empty()
          ? " Text alignment is of the prompt with nothing before it"
          : fmt::format(" Text alignment is of the prompt with \"{}\" before it", o.text_prefix);
  if (table.of_several) return note + ".";
  note += o.dino.empty() ? "; no DINO." : fmt::format("; DINO is {}.", o.dino);
  return note;
}

std::string chosen_text(const StudyReport& report) {
  return fmt::format(
      "Chosen: {}. Of each group of settings that one is chosen that gains most image alignment on "
      "the concepts that settings are chosen on, of those whose gain is more than the interval of "
      "the change and that lose no more than {} of text alignment on average.",
      report.chosen.empty() ? "none" : fmt::format("{}", fmt::join(report.chosen, ", ")),
      kTextTolerance);
}

bool tells_part(const StudyReport& report, const char* name) {
  return std::any_of(report.tables.begin(), report.tables.end(),
                     [&](const TableResult& table) { return table.part == name; });
}

/// No page is larger for pictures of 1024 pixels.
torch::Tensor small(const torch::Tensor& pixels) {
  constexpr std::int64_t kTallest = 160;
  if (pixels.size(0) <= kTallest) return pixels;
  return io::resize_area(pixels, kTallest, pixels.size(1) * kTallest / pixels.size(0));
}

/// The first picture of every concept in every row.
void show(eval::Page& page, const TableResult& table) {
  for (const auto& row : table.rows) {
    if (row.paintings.empty()) continue;
    page.paragraph(row.name);
    std::vector<eval::ShownPicture> pictures;
    std::set<std::string> seen;  // of several tunings and prompts the first
    for (const auto& painting : row.paintings) {
      if (!seen.insert(painting.owners).second) continue;
      const auto files = pictures_in(painting.folder);
      if (files.empty()) continue;
      pictures.push_back(
          eval::shown(small(io::to_rgb(io::read_image(files.front()).pixels)), painting.owners));
    }
    page.pictures(pictures);
  }
}

}  // namespace

Json to_json(const StudyReport& report) {
  Json json = report.versions;
  json["options"] = write_options(report.options);
  for (const auto& subject : report.subjects) {
    Json entry = {{"name", subject.name},
                  {"set", choice_name(subject.set)},
                  {"category", subject.category},
                  {"style", subject.style},
                  {"pictures", subject.digest}};
    const auto own = report.ceilings.find(subject.name);
    if (own != report.ceilings.end() && !own->second.empty()) {
      entry["among_themselves"] = own->second;
    }
    json["concepts"].push_back(entry);
  }
  if (tells_part(report, "settings")) json["chosen"] = report.chosen;
  if (!report.to_come.empty()) json["to_come"] = report.to_come;
  if (!report.failures.empty()) json["failures"] = report.failures;
  json["tables"] = Json::array();
  for (const auto& table : report.tables) json["tables"].push_back(to_json(table));
  return json;
}

/// The last table: what each concept's own pictures have of themselves.
std::string own_pictures_text(const StudyReport& report) {
  std::vector<Column> columns;
  for (const auto& column : kColumns) {
    const auto has = [&](const Subject& subject) {
      return ceiling_of(report, subject.name, column.figure).has_value();
    };
    if (std::any_of(report.subjects.begin(), report.subjects.end(), has)) columns.push_back(column);
  }
  if (columns.empty()) return "";
  std::string text = "\n## The concepts' own pictures, among themselves\n\n| concept |",
              line = "\n|---|";
  for (const auto& column : columns) {
    text += fmt::format(" {} |", column.heading);
    line += "---|";
  }
  text += line + "\n";
  for (const auto& subject : report.subjects) {
    Cells cells = {subject.name};
    for (const auto& column : columns) {
      const auto ceiling = ceiling_of(report, subject.name, column.figure);
      cells.push_back(ceiling ? fmt::format("{:.3f}", *ceiling) : "-");
    }
    text += markdown_row(cells);
  }
  return text;
}

std::string tables_text(const StudyReport& report) {
  std::string text = kTablesHeading;
  text += "\n" + conditions_text(report) + "\n";
  if (const auto to_come = to_come_text(report); !to_come.empty()) text += "\n" + to_come + "\n";
  text += "\nConcepts, no two sets share one:\n\n";
  for (const auto& line : sets_text(report)) text += "- " + line + "\n";
  for (const auto& table : report.tables) {
    text += fmt::format("\n## {}\n\n{}\n\n", table.title, note_of(report, table));
    const auto header = header_of(table);
    text += markdown_row(header) + "|";
    for (std::size_t i = 0; i < header.size(); ++i) text += "---|";
    text += "\n";
    for (const auto& row : rows_of(report, table)) text += markdown_row(row);
  }
  if (tells_part(report, "settings")) text += "\n" + chosen_text(report) + "\n";
  return text + own_pictures_text(report);
}

std::string page_text(const StudyReport& report) {
  eval::Page page("Study");
  page.paragraph(conditions_text(report));
  if (const auto to_come = to_come_text(report); !to_come.empty()) page.paragraph(to_come);
  for (const auto& line : sets_text(report)) page.paragraph(line);
  page.heading("The concepts' own");
  std::vector<eval::ShownPicture> own;
  for (const auto& subject : report.subjects) {
    own.push_back(eval::shown(small(own_pictures(subject).front()), subject.name));
  }
  page.pictures(own);
  for (const auto& table : report.tables) {
    page.heading(table.title);
    page.paragraph(note_of(report, table));
    page.table(header_of(table), rows_of(report, table));
    show(page, table);
  }
  if (tells_part(report, "settings")) page.paragraph(chosen_text(report));
  return page.text();
}

}  // namespace mos::study
