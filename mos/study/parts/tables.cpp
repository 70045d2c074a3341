#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstddef>
#include <string>
#include <vector>

#include "mos/study/parts.h"
#include "mos/study/plan.h"
#include "mos/study/titles.h"
#include "mos/tune/plan.h"

/// Tables 1 and 2a: each concept in the model of its own tuning, and in the one that all of them
/// were merged into.
namespace mos::study {
namespace {

/// A way of tuning, and how it is merged.
struct Pairing {
  Merging merging;         ///< Without a merge: its row alone.
  std::string title = {};  ///< Of the merge; empty: as it is called everywhere.
};

bool has_row(const Table& table, const std::string& name) {
  return std::any_of(table.rows.begin(), table.rows.end(),
                     [&](const Row& row) { return row.name == name; });
}

/// The row of a way of tuning by itself and that of its merge, unless the table has them.
void add(Table& table, const Ground& ground, const Pairing& pairing) {
  const auto subjects = ground.of(Set::kReport);
  const auto& [tune, merge, options] = pairing.merging;
  const auto single = row_title(tune);
  if (!has_row(table, single)) {
    table.rows.push_back({.name = single, .shown = alone(ground, subjects, tune)});
  }
  if (merge.empty()) return;
  const auto name =
      pairing.title.empty() ? row_title(tune, merge) : title_of_tuning(tune) + ", " + pairing.title;
  if (has_row(table, name)) return;
  table.rows.push_back({.name = name,
                        .against = single,
                        .shown = merged(ground, subjects, pairing.merging),
                        .settings = {{"tune", tune}, {"merge", merge}}});
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

/// "ED-LoRA 340 x 8, 0.01, 0.0005, 0.001, low_rank in transformers".
std::string tuning_text(const Ground& ground, const std::string& method) {
  const auto options = options_of({.method = method}, ground.options);
  const auto plan = tune::plan_of(options);
  const auto rate = [&](checkpoint::Part part) {
    return plan.changes(part) ? fmt::format("{:g}", plan.group(folder_of(part)).rate) : "-";
  };
  const bool has_words = options.words.rows != tune::WordRows::kNone;
  const bool has_weights =
      plan.changes(checkpoint::Part::kTextEncoder) || plan.changes(checkpoint::Part::kUNet);
  return fmt::format("{} {} x {}, {}, {}, {}, {}", title_of_tuning(method), options.optimiser.steps,
                     options.optimiser.batch,
                     has_words ? fmt::format("{:g}", options.optimiser.embedding_rate) : "-",
                     rate(checkpoint::Part::kTextEncoder), rate(checkpoint::Part::kUNet),
                     has_weights ? fmt::format("{} in {}", choice_name(options.weights.form),
                                               choice_name(options.weights.where))
                                 : "no weights");
}

/// Differences between ways of tuning are worth no more than what they were tuned with.
std::string tunings_text(const Ground& ground, const std::vector<Pairing>& pairings) {
  std::vector<std::string> texts;
  for (const auto& pairing : pairings) {
    const auto text = tuning_text(ground, pairing.merging.tune);
    if (std::find(texts.begin(), texts.end(), text) == texts.end()) texts.push_back(text);
  }
  return fmt::format(
      " Tuned with (steps x pictures of a step, rates of words, text encoder and U-Net, what "
      "changes): {}.",
      fmt::join(texts, "; "));
}

Table table_of(const Ground& ground, const std::string& title) {
  return {.title = title,
          .note = fmt::format("The {} reported concepts, all of them in each merged model. The "
                              "change is against the same tuning alone, picture by picture.",
                              ground.of(Set::kReport).size())};
}

std::vector<Pairing> pairings_of_table1(const Ground& ground) {
  // P+ changes words alone, which any merge puts side by side: a merged row would be the same.
  std::vector<Pairing> pairings = {
      {{"p_plus", ""}}, {{"custom_diffusion", "custom_diffusion"}}, {{"lora", "weight"}}};
  if (!ground.options.quick) {
    const std::vector<Pairing> more = {// None of these two has a merge of its own.
                                       {{"dreambooth", "weight"}},
                                       {{"svdiff", "weight"}},
                                       {{"cones", "ties", {{"density", 1.0}}}, "union of neurons"},
                                       {{"orthogonal_adaptation", "sum"}},
                                       {{"ed_lora_paper", "gradient"}}};
    pairings.insert(pairings.end(), more.begin(), more.end());
  }
  pairings.push_back({{ground.options.method, "gradient"}});
  return pairings;
}

}  // namespace

std::vector<Table> table1(const Ground& ground) {
  auto table = table_of(ground, "Table 1: each method alone, and merged as its authors merge it");
  const auto pairings = pairings_of_table1(ground);
  if (ground.options.method != "p_plus") {
    table.note +=
        " P+ changes no weights, so that merged it paints the same pictures and has no second row.";
  }
  table.rows.push_back(bounds(ground));
  for (const auto& pairing : pairings) add(table, ground, pairing);
  if (!ground.options.quick) {
    table.note +=
        " DreamBooth and SVDiff have no merge of their authors: weight fusion is ours. "
        "They and Cones call a concept by one rare word before its class word, so two of "
        "one class are called alike. Orthogonal Adaptation's sum has factor 1 on every concept.";
    table.rows.push_back(
        {.name = "encoder-based methods",
         .left_out = "they need an encoder that is pretrained on many concepts of a category"});
  }
  table.note += tunings_text(ground, pairings);
  return {table};
}

std::vector<Table> table2a(const Ground& ground) {
  auto table = table_of(ground, "Table 2a: tuning and merging");
  const auto& ours = ground.options.method;
  const std::vector<Pairing> pairings = {
      {{"lora", "weight"}}, {{ours, "weight"}}, {{ours, "gradient"}}};
  for (const auto& pairing : pairings) add(table, ground, pairing);
  table.note += tunings_text(ground, pairings);
  if (ground.options.quick) return {table};
  auto every = table_of(ground, "Every merge of the same tuned concepts");
  const auto merges = merges_for(ours);
  for (const auto& merge : merges) {
    add(every, ground, {{ours, merge}});
    if (merge == "distill") every.note += note_on_distillation(ground);
  }
  every.note += note_on_factors(merges);
  return {table, every};
}

namespace {

/// Those whose mean every longer model of the curve has, too.
constexpr std::size_t kSame = 3;

Table curve_of(const Ground& ground, const std::vector<const Subject*>& first) {
  const auto& ours = ground.options.method;
  const auto count = first.size();
  Table table{
      .title = fmt::format("Curve: {} concept{} in one model", count, count == 1 ? "" : "s"),
      .note =
          fmt::format("The first of the reported concepts, tuned by {}.", title_of_tuning(ours)),
      .most_prompts = 5};
  if (count >= kSame) {
    table.also.assign(first.begin(), first.begin() + static_cast<std::ptrdiff_t>(kSame));
    table.note += fmt::format(
        " The mean of the first {} is that of the same concepts in all tables of the curve that "
        "have it; the others are of other concepts in each table.",
        kSame);
  } else {
    table.note += fmt::format(
        " Fewer than the first {}, so its figures are of other concepts than those of the longer "
        "tables.",
        kSame);
  }
  Row single{.name = "alone"};
  for (const auto* subject : first) {
    single.shown.push_back(
        {.model = {.concepts = {tuned(ground, *subject, ours)}}, .subjects = {subject}});
  }
  table.rows.push_back(single);
  const auto merges = merges_for(ours);
  for (const auto& merge : merges) {
    if (count == 1 && merge == "distill") continue;  // there is nothing to teach one concept
    if (merge == "distill") table.note += note_on_distillation(ground);
    Row row{.name = title_of_merge(merge), .against = "alone"};
    const auto model = model_of(ground, first, {.tune = ours, .merge = merge});
    for (const auto* subject : first) row.shown.push_back({.model = model, .subjects = {subject}});
    table.rows.push_back(row);
  }
  table.note += note_on_factors(merges);
  return table;
}

}  // namespace

std::vector<Table> curve(const Ground& ground) {
  const auto subjects = ground.of(Set::kReport);
  std::vector<Table> tables;
  for (const std::size_t count : {1, 2, 3, 5, 9, 12}) {
    if (count > subjects.size()) continue;
    tables.push_back(curve_of(
        ground, {subjects.begin(), subjects.begin() + static_cast<std::ptrdiff_t>(count)}));
  }
  return tables;
}

}  // namespace mos::study
