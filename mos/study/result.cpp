#include "mos/study/result.h"

#include <fmt/core.h>

#include <algorithm>
#include <set>

#include "mos/base/error.h"

namespace mos::study {

using torch::Tensor;

namespace {

/// Of one figure, what each entry of row.shown has: [P,S] each.
using Tables = std::vector<Tensor>;

/// Rows of prompts, each value of which is of one seed.
Tensor table_of(const std::vector<std::string>& measures, const std::string& figure,
                const Done& done) {
  std::vector<Tensor> rows;
  for (const auto& key : measures) {
    auto values = read_figures(done.measure(key)).values.at(figure);
    // Regions of one prompt are prompts of their own: what is drawn again is a whole region.
    if (values.dim() == 1) values = values.unsqueeze(0);
    rows.push_back(values);
  }
  return torch::cat(rows);
}

/// The mean over categories of the means over their concepts of the means over their tunings, as a
/// table of prompts and seeds. Prompts are told apart by their number; where some categories have
/// fewer the rest is not used.
Tensor balanced(const Row& row, const Tables& tables) {
  auto prompts = tables.front().size(0);
  for (const auto& table : tables) prompts = std::min(prompts, table.size(0));
  std::map<std::string, std::map<std::string, std::vector<Tensor>>> by_category;
  for (std::size_t i = 0; i < tables.size(); ++i) {
    const auto& subject = *row.shown[i].subjects.front();
    by_category[subject.category][subject.name].push_back(tables[i].narrow(0, 0, prompts));
  }
  std::vector<Tensor> categories;
  for (const auto& [category, subjects] : by_category) {
    std::vector<Tensor> means;
    for (const auto& [name, of_subject] : subjects) {
      means.push_back(torch::stack(of_subject).mean(0));
    }
    categories.push_back(torch::stack(means).mean(0));
  }
  return torch::stack(categories).mean(0);
}

Tensor combined(const PlannedRow& row, bool of_several, const std::string& figure,
                const Done& done) {
  Tables tables;
  for (const auto& measures : row.measures) tables.push_back(table_of(measures, figure, done));
  return of_several ? torch::cat(tables) : balanced(row.row, tables);
}

std::vector<std::string> figures_of(const PlannedRow& row, const Done& done) {
  std::vector<std::string> names;
  for (const auto& [name, values] :
       read_figures(done.measure(row.measures.front().front())).values) {
    names.push_back(name);
  }
  return names;
}

const PlannedRow& row_named(const PlannedTable& table, const std::string& name) {
  for (const auto& row : table.rows) {
    if (row.row.name == name) return row;
  }
  throw Error(ErrorKind::kUsage,
              fmt::format("{}: no row is called \"{}\"", table.table.title, name));
}

void tell_subjects(const PlannedRow& row, const Done& done, RowResult& result) {
  std::map<std::string, std::vector<Tensor>> tables;
  for (std::size_t i = 0; i < row.measures.size(); ++i) {
    tables[row.row.shown[i].subjects.front()->name].push_back(
        table_of(row.measures[i], "image", done));
  }
  for (const auto& [name, of_subject] : tables) {
    result.of_subject[name] = torch::stack(of_subject).mean().item<double>();
  }
}

RowResult result_of_row(const PlannedTable& table, const PlannedRow& row, const Done& done) {
  RowResult result{.name = row.row.name,
                   .against = row.row.against,
                   .group = row.row.group,
                   .settings = row.row.settings,
                   .failed = row.failed};
  if (!row.failed.empty()) return result;
  const bool several = table.table.of_several;
  for (const auto& figure : figures_of(row, done)) {
    const auto values = combined(row, several, figure, done);
    result.figures[figure] = eval::bootstrap(values);
    if (row.row.against.empty() || !row_named(table, row.row.against).failed.empty()) continue;
    const auto others = combined(row_named(table, row.row.against), several, figure, done);
    result.changes[figure] = eval::bootstrap(values - others);
  }
  if (several) {
    const auto margins = combined(row, several, "margin", done);
    result.positive = eval::share_of(margins.gt(0).sum().item<std::int64_t>(), margins.numel());
  } else {
    tell_subjects(row, done, result);
  }
  for (std::size_t i = 0; i < row.measures.size(); ++i) {
    std::string names;
    for (const auto* subject : row.row.shown[i].subjects) {
      names += (names.empty() ? "" : ", ") + subject->name;
    }
    result.paintings.emplace_back(names, done.painting_of(row.measures[i].front()));
  }
  return result;
}

}  // namespace

std::filesystem::path Done::measure(const std::string& key) const {
  return store.place_of(plan.measures().at(key).cell);
}

std::filesystem::path Done::painting_of(const std::string& measure) const {
  return store.place_of(plan.paintings().at(plan.measures().at(measure).paint).cell);
}

TableResult result_of(const PlannedTable& table, const Done& done) {
  TableResult result{.part = table.part,
                     .title = table.table.title,
                     .note = table.table.note,
                     .of_several = table.table.of_several};
  std::set<std::string> names;
  for (const auto& row : table.rows) {
    result.rows.push_back(result_of_row(table, row, done));
    for (const auto& shown : row.row.shown) {
      for (const auto* subject : shown.subjects) names.insert(subject->name);
    }
  }
  result.subjects.assign(names.begin(), names.end());
  return result;
}

std::vector<std::string> best_of_groups(const TableResult& table) {
  std::map<std::string, const RowResult*> best;
  for (const auto& row : table.rows) {
    const auto change = row.changes.find("image");
    if (row.group.empty() || change == row.changes.end() || change->second.low <= 0.0) continue;
    auto*& of_group = best[row.group];
    const bool better =
        of_group == nullptr || row.figures.at("image").mean > of_group->figures.at("image").mean;
    if (better) of_group = &row;
  }
  std::vector<std::string> names;
  for (const auto& [group, row] : best) names.push_back(row->name);
  return names;
}

Json to_json(const TableResult& table) {
  Json json = {{"part", table.part},
               {"title", table.title},
               {"note", table.note},
               {"concepts", table.subjects},
               {"rows", Json::array()}};
  for (const auto& row : table.rows) {
    Json entry = {{"name", row.name}};
    if (!row.against.empty()) entry["against"] = row.against;
    if (!row.group.empty()) entry["group"] = row.group;
    if (!row.settings.empty()) entry["settings"] = row.settings;
    for (const auto& [name, interval] : row.figures) entry[name] = eval::to_json(interval);
    for (const auto& [name, interval] : row.changes) {
      entry["change"][name] = eval::to_json(interval);
    }
    if (row.positive) entry["positive"] = eval::to_json(*row.positive);
    for (const auto& [name, value] : row.of_subject) entry["image_of"][name] = value;
    json["rows"].push_back(entry);
  }
  return json;
}

}  // namespace mos::study
