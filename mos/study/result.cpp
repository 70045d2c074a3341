#include "mos/study/result.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <set>

#include "mos/base/error.h"

namespace mos::study {

using torch::Tensor;

namespace {

/// Of which values a mean is told.
struct Wanted {
  std::string figure;
  bool share_above_0 = false;  ///< 1 for a value above 0 and 0 for another, instead of it.
  std::vector<const Subject*> subjects = {};  ///< Of these alone; empty: of all.
};

/// A row of values of each prompt, a column of each seed. Regions of one picture hang together, so
/// their mean is what is drawn.
Tensor table_of(const std::vector<std::string>& measures, const Wanted& wanted, const Done& done) {
  std::vector<Tensor> rows;
  for (const auto& key : measures) {
    auto values = read_figures(done.measure(key)).values.at(wanted.figure);
    if (wanted.share_above_0) values = values.gt(0.0).to(torch::kFloat64);
    rows.push_back(values.dim() == 1 ? values : values.mean(0));
  }
  return torch::stack(rows);
}

std::string owners_of(const Shown& shown) {
  std::string names;
  for (const auto* subject : shown.subjects) {
    names += (names.empty() ? "" : ", ") + subject->name;
  }
  return names;
}

bool is_wanted(const Shown& shown, const Wanted& wanted) {
  const auto& some = wanted.subjects;
  return some.empty() || std::find(some.begin(), some.end(), shown.subjects.front()) != some.end();
}

/// [T,P,S] of a row: by tuning, prompt and seed the mean over categories of the means over their
/// concepts; of pictures of several that over their groups. Prompts are told apart by their number;
/// where some have fewer the rest is not used.
Tensor values_of(const PlannedRow& row, const Wanted& wanted, const Done& done) {
  std::map<std::string, std::map<std::string, std::vector<Tensor>>> by_category;
  auto prompts = std::numeric_limits<std::int64_t>::max();
  for (std::size_t i = 0; i < row.measures.size(); ++i) {
    const auto& shown = row.row.shown[i];
    if (!is_wanted(shown, wanted)) continue;
    const auto category = shown.subjects.size() == 1 ? shown.subjects.front()->category : "";
    auto table = table_of(row.measures[i], wanted, done);
    prompts = std::min(prompts, table.size(0));
    by_category[category][owners_of(shown)].push_back(std::move(table));
  }
  std::vector<Tensor> categories;
  for (const auto& [category, by_owner] : by_category) {
    std::vector<Tensor> means;
    for (const auto& [owner, tunings] : by_owner) {
      std::vector<Tensor> tables;
      for (const auto& table : tunings) tables.push_back(table.narrow(0, 0, prompts));
      means.push_back(torch::stack(tables));
    }
    categories.push_back(torch::stack(means).mean(0));
  }
  return torch::stack(categories).mean(0);
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

bool has_figures(const PlannedRow& row) { return row.failed.empty() && !row.measures.empty(); }

/// The figure `name` of a row, and its change.
void tell(const std::string& name, const Wanted& wanted, const PlannedTable& table,
          const PlannedRow& row, const Done& done, RowResult& result) {
  const auto values = values_of(row, wanted, done);
  result.figures[name] = eval::bootstrap(values);
  if (row.row.against.empty()) return;
  const auto& other = row_named(table, row.row.against);
  if (!has_figures(other)) return;
  result.changes[name] = eval::bootstrap(values - values_of(other, wanted, done));
}

void tell_subjects(const PlannedRow& row, const Done& done, RowResult& result) {
  std::map<std::string, std::vector<Tensor>> tables;
  for (std::size_t i = 0; i < row.measures.size(); ++i) {
    tables[owners_of(row.row.shown[i])].push_back(table_of(row.measures[i], {"image"}, done));
  }
  for (const auto& [name, of_subject] : tables) {
    result.of_subject[name] = torch::stack(of_subject).mean().item<double>();
  }
}

/// What models the row is painted with.
void count_models(const Row& row, RowResult& result) {
  std::set<std::uint64_t> seeds;
  for (const auto& shown : row.shown) {
    for (const auto& one : shown.model.concepts) seeds.insert(one.seed);
    result.in_model =
        std::max(result.in_model, static_cast<std::int64_t>(shown.model.concepts.size()));
  }
  result.tunings = static_cast<std::int64_t>(seeds.size());
}

RowResult result_of_row(const PlannedTable& table, const PlannedRow& row, const Done& done) {
  RowResult result{.name = row.row.name,
                   .against = row.row.against,
                   .group = row.row.group,
                   .settings = row.row.settings,
                   .failed = row.failed,
                   .left_out = row.row.left_out};
  count_models(row.row, result);
  if (!has_figures(row)) return result;
  for (const auto& figure : figures_of(row, done)) tell(figure, {figure}, table, row, done, result);
  const auto& also = table.table.also;
  if (!also.empty()) {
    tell("also", {.figure = "image", .subjects = also}, table, row, done, result);
  }
  if (table.table.of_several) {
    const Wanted above_0{.figure = "margin", .share_above_0 = true};
    result.positive = eval::bootstrap(values_of(row, above_0, done));
  } else {
    tell_subjects(row, done, result);
  }
  for (std::size_t i = 0; i < row.measures.size(); ++i) {
    for (const auto& key : row.measures[i]) {
      result.paintings.push_back({owners_of(row.row.shown[i]),
                                  done.plan.measures().at(key).texts.front(),
                                  done.painting_of(key)});
    }
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
                     .of_several = table.table.of_several,
                     .also = table.table.also.size()};
  std::set<std::string> names;
  std::set<std::int64_t> prompts;
  for (const auto& row : table.rows) {
    result.rows.push_back(result_of_row(table, row, done));
    for (const auto& shown : row.row.shown) {
      for (const auto* subject : shown.subjects) names.insert(subject->name);
    }
    for (const auto& of_shown : row.measures) {
      prompts.insert(static_cast<std::int64_t>(of_shown.size()));
    }
  }
  result.subjects.assign(names.begin(), names.end());
  if (!prompts.empty()) {
    result.least_prompts = *prompts.begin();
    result.most_prompts = *prompts.rbegin();
  }
  return result;
}

std::vector<std::string> best_of_groups(const TableResult& table) {
  std::map<std::string, const RowResult*> best;
  for (const auto& row : table.rows) {
    if (row.group.empty() || !row.changes.contains("image")) continue;
    const bool gains = row.changes.at("image").low > 0.0;
    const auto text = row.changes.find("text");
    const bool costs = text != row.changes.end() && text->second.mean < -kTextTolerance;
    if (!gains || costs) continue;
    auto*& of_group = best[row.group];
    const bool better =
        of_group == nullptr || row.changes.at("image").mean > of_group->changes.at("image").mean;
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
               {"prompts", {table.least_prompts, table.most_prompts}},
               {"rows", Json::array()}};
  for (const auto& row : table.rows) {
    Json entry = {{"name", row.name}};
    if (!row.against.empty()) entry["against"] = row.against;
    if (!row.group.empty()) entry["group"] = row.group;
    if (!row.settings.empty()) entry["settings"] = row.settings;
    if (!row.failed.empty()) entry["failed"] = row.failed;
    if (!row.left_out.empty()) entry["left_out"] = row.left_out;
    entry["tunings"] = row.tunings;
    entry["in_model"] = row.in_model;
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
