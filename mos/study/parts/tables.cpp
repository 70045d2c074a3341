#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cstddef>

#include "mos/study/parts.h"

/// Tables 1 and 2a: each concept in the model of its own tuning, and in the one that all of them
/// were merged into.
namespace mos::study {
namespace {

struct Pairing {
  const char* name;  ///< Of the way of tuning, as the paper calls it.
  Merging merging;
  const char* merge;  ///< As the paper calls it.
};

/// The row of a way of tuning by itself, unless the table has it, and that of its merge.
void add(Table& table, const Ground& ground, const Pairing& pairing) {
  const auto subjects = ground.of(Set::kReport);
  const auto single = fmt::format("{}, alone", pairing.name);
  const auto is_there = [&](const Row& row) { return row.name == single; };
  if (std::none_of(table.rows.begin(), table.rows.end(), is_there)) {
    table.rows.push_back({.name = single, .shown = alone(ground, subjects, pairing.merging.tune)});
  }
  table.rows.push_back(
      {.name = fmt::format("{}, {}", pairing.name, pairing.merge),
       .against = single,
       .shown = merged(ground, subjects, pairing.merging),
       .settings = {{"tune", pairing.merging.tune}, {"merge", pairing.merging.merge}}});
}

/// What the base makes of the class word: image alignment can only be better, text alignment only
/// worse.
Row bounds(const Ground& ground) {
  Row row{.name = "class word (bounds)"};
  for (const auto* subject : ground.of(Set::kReport)) {
    row.shown.push_back({.subjects = {subject}, .class_word = true});
  }
  return row;
}

Table table_of(const Ground& ground, const std::string& title) {
  return {.title = title,
          .note = fmt::format("The {} reported concepts, all of them in each merged model. The "
                              "change is against the same tuning alone, picture by picture.",
                              ground.of(Set::kReport).size())};
}

}  // namespace

std::vector<Table> table1(const Ground& ground) {
  auto table = table_of(ground, "Table 1: each method alone, and merged as its authors merge it");
  table.rows.push_back(bounds(ground));
  // P+ has words alone, which any merge puts side by side.
  const std::array<Pairing, 4> pairings = {
      {{"P+", {"p_plus", "weight"}, "words together"},
       {"Custom Diffusion", {"custom_diffusion", "custom_diffusion"}, "constrained merge"},
       {"LoRA", {"lora", "weight"}, "weight fusion"},
       {"ED-LoRA", {ground.options.method, "gradient"}, "gradient fusion"}}};
  for (const auto& pairing : pairings) add(table, ground, pairing);
  return {table};
}

std::vector<Table> table2a(const Ground& ground) {
  auto table = table_of(ground, "Table 2a: tuning and merging");
  const auto& ours = ground.options.method;
  const std::array<Pairing, 3> pairings = {{{"LoRA", {"lora", "weight"}, "weight fusion"},
                                            {"ED-LoRA", {ours, "weight"}, "weight fusion"},
                                            {"ED-LoRA", {ours, "gradient"}, "gradient fusion"}}};
  for (const auto& pairing : pairings) add(table, ground, pairing);
  if (ground.options.quick) return {table};
  auto every = table_of(ground, "Every merge of the same tuned concepts");
  for (const auto& merge : merges_for(ours)) {
    add(every, ground, {"ED-LoRA", {ours, merge}, merge.c_str()});
  }
  return {table, every};
}

std::vector<Table> curve(const Ground& ground) {
  const auto subjects = ground.of(Set::kReport);
  std::vector<Table> tables;
  for (const std::size_t count : {1, 2, 3, 5, 9, 12}) {
    if (count > subjects.size()) continue;
    const std::vector<const Subject*> first(subjects.begin(),
                                            subjects.begin() + static_cast<std::ptrdiff_t>(count));
    Table table{
        .title = fmt::format("Curve: {} concept{} in one model", count, count == 1 ? "" : "s"),
        .note = "The first of the reported concepts; one tuning of each.",
        .most_prompts = 5};
    Row single{.name = "alone"};
    for (const auto* subject : first) {
      single.shown.push_back(
          {.model = {.concepts = {tuned(ground, *subject, ground.options.method)}},
           .subjects = {subject}});
    }
    table.rows.push_back(single);
    for (const auto& merge : merges_for(ground.options.method)) {
      Row row{.name = merge, .against = "alone"};
      const auto model = model_of(ground, first, {.tune = ground.options.method, .merge = merge});
      for (const auto* subject : first)
        row.shown.push_back({.model = model, .subjects = {subject}});
      table.rows.push_back(row);
    }
    tables.push_back(table);
  }
  return tables;
}

}  // namespace mos::study
