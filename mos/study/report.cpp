#include "mos/study/report.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <set>

#include "mos/base/record.h"
#include "mos/base/text.h"
#include "mos/eval/page.h"
#include "mos/io/image.h"

namespace mos::study {
namespace {

using Cells = std::vector<std::string>;

/// A figure of the table and what it is called there.
struct Column {
  const char* figure;
  const char* heading;
};
constexpr std::array kColumns = {
    Column{"text", "text alignment"},   Column{"image", "image alignment"},
    Column{"first", "first reference"}, Column{"dino", "DINO"},
    Column{"own", "identity"},          Column{"margin", "margin"}};

std::string with_bounds(const eval::Interval& interval) {
  return fmt::format("{:.3f} [{:.3f}, {:.3f}]", interval.mean, interval.low, interval.high);
}

std::string change_text(const eval::Interval& interval) {
  return fmt::format("{:+.3f} [{:+.3f}, {:+.3f}]", interval.mean, interval.low, interval.high);
}

bool any_has(const TableResult& table, const char* figure) {
  return std::any_of(table.rows.begin(), table.rows.end(),
                     [&](const RowResult& row) { return row.figures.contains(figure); });
}

bool any_changes(const TableResult& table) {
  return std::any_of(table.rows.begin(), table.rows.end(),
                     [](const RowResult& row) { return !row.changes.empty(); });
}

Cells header_of(const TableResult& table) {
  Cells header = {""};
  for (const auto& column : kColumns) {
    if (any_has(table, column.figure)) header.emplace_back(column.heading);
  }
  if (any_changes(table)) header.insert(header.end(), {"change of text", "change of image"});
  if (table.of_several) header.emplace_back("margins above 0");
  return header;
}

Cells cells_of(const TableResult& table, const RowResult& row) {
  Cells cells = {row.failed.empty() ? row.name : row.name + ": failed, " + row.failed};
  for (const auto& column : kColumns) {
    if (!any_has(table, column.figure)) continue;
    const auto found = row.figures.find(column.figure);
    cells.push_back(found == row.figures.end() ? "" : with_bounds(found->second));
  }
  if (any_changes(table)) {
    for (const char* figure : {"text", "image"}) {
      const auto found = row.changes.find(figure);
      cells.push_back(found == row.changes.end() ? "" : change_text(found->second));
    }
  }
  if (row.positive) {
    cells.push_back(fmt::format("{:.0f} % [{:.0f}, {:.0f}]", 100 * row.positive->mean,
                                100 * row.positive->low, 100 * row.positive->high));
  }
  return cells;
}

std::vector<Cells> rows_of(const TableResult& table) {
  std::vector<Cells> rows;
  for (const auto& row : table.rows) rows.push_back(cells_of(table, row));
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
      "Up to {} prompts for each concept, {} pictures for each prompt from seeds {} to {}, which "
      "all rows share; {} steps of {}, guidance {}, perturbed attention {}. In brackets where 95 % "
      "of 2000 resamples lie, "
      "whose prompts and seeds are drawn with replacement. Figures are the mean of the means of "
      "the categories. Judge: {}.",
      o.prompts_each, o.pictures, o.seed, o.seed + static_cast<std::uint64_t>(o.pictures) - 1,
      o.steps, o.scheduler, o.guidance_scale, o.perturbed_attention.value(),
      o.clip.empty() ? "the base's own" : o.clip);
}

std::string chosen_text(const StudyReport& report) {
  return fmt::format(
      "Better than the defaults by more than the interval, where settings are "
      "chosen: {}.",
      report.chosen.empty() ? "none" : fmt::format("{}", fmt::join(report.chosen, ", ")));
}

bool has_part(const StudyReport& report, const char* name) {
  const auto& parts = report.options.parts;
  return std::find(parts.begin(), parts.end(), name) != parts.end();
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
    page.paragraph(row.name);
    std::vector<eval::ShownPicture> pictures;
    std::set<std::string> seen;  // of several tunings the first
    for (const auto& [name, folder] : row.paintings) {
      if (!seen.insert(name).second) continue;
      const auto files = pictures_in(folder);
      if (files.empty()) continue;
      pictures.push_back(
          eval::shown(small(io::to_rgb(io::read_image(files.front()).pixels)), name));
    }
    page.pictures(pictures);
  }
}

}  // namespace

Json to_json(const StudyReport& report) {
  Json json = report.versions;
  json["options"] = write_options(report.options);
  for (const auto& subject : report.subjects) {
    json["concepts"].push_back({{"name", subject.name},
                                {"set", choice_name(subject.set)},
                                {"category", subject.category},
                                {"style", subject.style},
                                {"pictures", subject.digest},
                                {"among_themselves", report.ceilings.at(subject.name)}});
  }
  if (has_part(report, "settings")) json["chosen"] = report.chosen;
  json["tables"] = Json::array();
  for (const auto& table : report.tables) json["tables"].push_back(to_json(table));
  return json;
}

std::string tables_text(const StudyReport& report) {
  std::string text = kTablesHeading;
  text += "\n" + conditions_text(report) + "\n\nConcepts, no two sets share one:\n\n";
  for (const auto& line : sets_text(report)) text += "- " + line + "\n";
  for (const auto& table : report.tables) {
    text += fmt::format("\n## {}\n\n{}\n\n", table.title, table.note);
    const auto header = header_of(table);
    text += markdown_row(header) + "|";
    for (std::size_t i = 0; i < header.size(); ++i) text += "---|";
    text += "\n";
    for (const auto& row : rows_of(table)) text += markdown_row(row);
  }
  if (has_part(report, "settings")) text += "\n" + chosen_text(report) + "\n";
  text += "\n## The concepts' own pictures\n\n| concept | among themselves |\n|---|---|\n";
  for (const auto& subject : report.subjects) {
    text += fmt::format("| {} | {:.3f} |\n", subject.name, report.ceilings.at(subject.name));
  }
  return text;
}

std::string page_text(const StudyReport& report) {
  eval::Page page("Study");
  page.paragraph(conditions_text(report));
  for (const auto& line : sets_text(report)) page.paragraph(line);
  page.heading("The concepts' own");
  std::vector<eval::ShownPicture> own;
  for (const auto& subject : report.subjects) {
    own.push_back(eval::shown(small(own_pictures(subject).front()), subject.name));
  }
  page.pictures(own);
  for (const auto& table : report.tables) {
    page.heading(table.title);
    page.paragraph(table.note);
    page.table(header_of(table), rows_of(table));
    show(page, table);
  }
  if (has_part(report, "settings")) page.paragraph(chosen_text(report));
  return page.text();
}

}  // namespace mos::study
