#include <fmt/core.h>

#include <algorithm>
#include <cstdint>
#include <set>
#include <string>
#include <utility>

#include "mos/base/describe.h"
#include "mos/fuse/options.h"
#include "mos/study/parts.h"
#include "mos/study/plan.h"
#include "mos/tune/idle_options.h"
#include "mos/tune/options.h"

/// What decides quality. Every setting is told from the defaults on the concepts that settings are
/// chosen on; the best of each group then stands beside the defaults on those that check it, and
/// all that was chosen beside the defaults on those that are reported, which had no part in it.
namespace mos::study {
namespace {

/// One setting: what it changes in tuning, and in merging.
struct Variation {
  std::string group, name;
  Json tune = Json::object(), merge = Json::object();
};

constexpr const char* kDefaults = "defaults";
/// What settings of merging are told from: the same tunings as theirs.
constexpr const char* kFirstDefaults = "defaults, first tuning";
const Json kNothing = Json::object();

/// What a shorter tuning costs, and whether other timesteps make up for it.
std::vector<Variation> of_length(const tune::TuneOptions& options) {
  const auto half = [](std::int64_t count) { return std::max<std::int64_t>(1, count / 2); };
  const auto steps = half(options.optimiser.steps), batch = half(options.optimiser.batch);
  return {{"length", "half the steps", {{"steps", steps}}},
          {"length", "half the batch", {{"batch", batch}}},
          {"length", "stratified timesteps", {{"timesteps", "stratified"}}},
          {"length",
           "stratified timesteps, half the steps",
           {{"timesteps", "stratified"}, {"steps", steps}}}};
}

std::vector<Variation> of_tuning(const Ground& ground) {
  const auto options = options_of({.method = ground.options.method}, ground.options);
  const auto& rates = options.optimiser;
  std::vector<Variation> all = {
      {"words", "token density 0.002", {{"density_weight", 0.002}}},
      {"words", "token density 0.02", {{"density_weight", 0.02}}},
      {"words", "K/V drop 0.2", {{"kv_drop", 0.2}}},
      {"words", "K/V drop 0.5", {{"kv_drop", 0.5}}},
      {"words", "both", {{"density_weight", 0.002}, {"kv_drop", 0.2}}},
      {"words", "LoRA drop 0.1", {{"lora_drop", 0.1}}},
      {"words", "LoRA drop 0.3", {{"lora_drop", 0.3}}},
      {"where", "attention alone", {{"where", "attention"}}},
      {"where", "keys and values of cross-attention", {{"where", "cross_kv"}}},
      {"rank", "rank 1", {{"rank", 1}}},
      {"rank", "rank 8", {{"rank", 8}}},
      {"rank", "rank 16", {{"rank", 16}}},
  };
  for (const double factor : {0.3, 3.0}) {
    all.push_back({"rates",
                   fmt::format("words x {}", factor),
                   {{"embedding_rate", rates.embedding_rate * factor}}});
    all.push_back({"rates",
                   fmt::format("text encoder x {}", factor),
                   {{"text_rate", rates.text_rate * factor}}});
    all.push_back(
        {"rates", fmt::format("U-Net x {}", factor), {{"unet_rate", rates.unet_rate * factor}}});
  }
  for (auto& one : of_length(options)) all.push_back(std::move(one));
  return all;
}

/// Those that are recorded anyway, of which the first is painted, and three that only layers that
/// read text see. The study's own prompts have every scene that the base model knows in them: these
/// say what else a concept stands beside, a scene as well as a thing, so that nothing is recorded
/// that is measured.
Json more_prompts() {
  return {"photo of a <TOK>", "<TOK>", "a <TOK> next to a tree", "a <TOK> next to a house",
          "a <TOK> and a sailboat"};
}

std::vector<Variation> of_merging(const std::vector<const Subject*>& subjects) {
  std::vector<Variation> all;
  for (const double ridge : {0.1, 0.3, 1.0, 10.0, 30.0}) {
    all.push_back(
        {"text_ridge", fmt::format("text ridge {}", ridge), kNothing, {{"text_ridge", ridge}}});
  }
  for (const double ridge : {0.003, 0.01, 0.03, 0.3, 1.0}) {
    all.push_back(
        {"unet_ridge", fmt::format("U-Net ridge {}", ridge), kNothing, {{"unet_ridge", ridge}}});
  }
  for (const char* target : {"sum", "base"}) {
    all.push_back(
        {"target", fmt::format("ridge towards {}", target), kNothing, {{"ridge_towards", target}}});
  }
  all.push_back({"fitted", "padded texts", kNothing, {{"fit_text", "padded"}}});
  for (const int steps : {1, 5, 10}) {
    all.push_back(
        {"recorded", fmt::format("{} recorded steps", steps), kNothing, {{"steps", steps}}});
  }
  all.push_back({"recorded", "four recorded pictures", kNothing, {{"samples", 4}}});
  for (const double guidance : {2.0, 3.0}) {
    all.push_back({"recorded",
                   fmt::format("recorded at a guidance of {}", guidance),
                   kNothing,
                   {{"guidance_scale", guidance}}});
  }
  all.push_back({"prompts",
                 "five recorded prompts, for layers that read text alone",
                 kNothing,
                 {{"prompts", more_prompts()}}});
  all.push_back({"rounds", "one more round", kNothing, {{"rounds", 1}}});
  all.push_back({"rounds", "two more rounds", kNothing, {{"rounds", 2}}});
  all.push_back({"weights", "inverse energy", kNothing, {{"balance", "energy"}}});
  std::set<std::string> classes;
  for (const auto* subject : subjects) classes.insert(subject->class_word);
  all.push_back({"keep", "the base's own class words", kNothing, {{"keep", classes}}});
  return all;
}

/// Whether it leaves everything as it is on this base, whose own defaults may have it already.
bool changes_nothing(const Ground& ground, const Variation& variation) {
  const auto tuned_with = [&](const Json& options) {
    return write_options(
        options_of({.method = ground.options.method, .options = options}, ground.options));
  };
  const auto merged_with = [](const Json& given) {
    fuse::FuseOptions options{.method = "gradient"};
    read_options(given, "a setting of the study", options);
    return write_options(options);
  };
  return tuned_with(variation.tune) == tuned_with(kNothing) &&
         merged_with(variation.merge) == merged_with(kNothing);
}

/// Whether concepts that are tuned by the study's method lack what the setting is of.
bool is_idle(const Ground& ground, const Variation& variation) {
  const auto usual = options_of({.method = ground.options.method}, ground.options);
  const auto varied =
      options_of({.method = ground.options.method, .options = variation.tune}, ground.options);
  for (const auto& [option, value] : variation.tune.items()) {
    if (tune::is_idle(option, varied)) return true;
  }
  // What is dropped is dropped for the words to learn alone, and plain text learns nothing.
  if (variation.group == "words" && usual.words.rows == tune::WordRows::kNone) return true;
  if (variation.merge.empty()) return false;
  if (!changes_weights(usual.weights)) return true;  // words are put side by side, however merged
  const bool is_of_pictures = variation.group == "unet_ridge" || variation.group == "recorded" ||
                              variation.group == "rounds";
  return is_of_pictures && usual.weights.where == tune::Selector::kCrossKv;
}

/// Whether it makes another way of tuning of the study's: with weights where words alone were
/// tuned, or, where whole weights are, with other ones, by which such methods are told apart.
bool is_another_method(const Ground& ground, const Variation& variation) {
  const auto usual = options_of({.method = ground.options.method}, ground.options);
  const auto varied =
      options_of({.method = ground.options.method, .options = variation.tune}, ground.options);
  if (changes_weights(usual.weights) != changes_weights(varied.weights)) return true;
  return usual.weights.form != tune::WeightForm::kLowRank &&
         usual.weights.where != varied.weights.where;
}

/// Every setting that can be chosen, for a model of `subjects`.
std::vector<Variation> variations(const Ground& ground,
                                  const std::vector<const Subject*>& subjects) {
  auto all = of_tuning(ground);
  for (auto& one : of_merging(subjects)) all.push_back(std::move(one));
  std::erase_if(all, [&](const Variation& one) {
    return changes_nothing(ground, one) || is_idle(ground, one) || is_another_method(ground, one);
  });
  return all;
}

/// All of `subjects` in one model, of every tuning.
Row row_of(const Ground& ground, const std::vector<const Subject*>& subjects,
           const Variation& variation) {
  Row row{.name = variation.name,
          .against = variation.name == kDefaults ? "" : kDefaults,
          .shown =
              merged(ground, subjects, {.tune = ground.options.method, .options = variation.merge}),
          .group = variation.group,
          .settings = {{"tune", variation.tune}, {"merge", variation.merge}}};
  for (auto& shown : row.shown) {
    for (auto& one : shown.model.concepts) one.options = variation.tune;
  }
  return row;
}

/// The same of the first tuning alone: a merge of the same tunings needs no others to be compared.
Row of_first_tuning(Row row, std::size_t subjects) {
  row.shown.resize(subjects);
  const bool is_reference = row.against.empty();
  (is_reference ? row.name : row.against) = kFirstDefaults;
  return row;
}

/// The same at other scales of what a single tuning learned, without a merge; none where that is
/// words alone.
std::vector<Row> scales(const Ground& ground, const std::vector<const Subject*>& subjects) {
  std::vector<Row> rows;
  const auto usual = options_of({.method = ground.options.method}, ground.options);
  if (!changes_weights(usual.weights)) return rows;
  for (const double scale : {0.0, 0.7, 1.0}) {
    Row row{.name = fmt::format("alone, LoRA scale {}", scale),
            .shown = alone(ground, subjects, ground.options.method)};
    for (auto& shown : row.shown) shown.model.scale = scale;
    rows.push_back(row);
  }
  return rows;
}

Table table_of(const std::string& title, const std::string& note) {
  return {.title = title, .note = note, .most_prompts = 5};
}

std::vector<Variation> those_named(const Ground& ground,
                                   const std::vector<const Subject*>& subjects,
                                   const std::vector<std::string>& names) {
  auto all = variations(ground, subjects);
  std::erase_if(all, [&](const Variation& one) {
    return std::find(names.begin(), names.end(), one.name) == names.end();
  });
  return all;
}

/// All of `chosen` at once.
Variation together(const std::vector<Variation>& chosen) {
  Variation all{"", "all that was chosen, together"};
  for (const auto& one : chosen) {
    all.tune.update(one.tune);
    all.merge.update(one.merge);
  }
  return all;
}

/// Each choice on concepts that had no part in it.
Table check_of(const Ground& ground, const std::vector<const Subject*>& subjects,
               const std::vector<Variation>& chosen) {
  auto table = table_of("Settings, on the concepts that check the choice",
                        "The best of each group above, on concepts that had no part in choosing, "
                        "with every tuning.");
  table.rows.push_back(row_of(ground, subjects, {"", kDefaults}));
  for (const auto& one : chosen) table.rows.push_back(row_of(ground, subjects, one));
  if (chosen.size() > 1) table.rows.push_back(row_of(ground, subjects, together(chosen)));
  return table;
}

/// What the choice is worth where nothing was chosen.
Table report_of(const Ground& ground, const std::vector<const Subject*>& subjects,
                const std::vector<Variation>& chosen) {
  auto table = table_of("What was chosen, on the concepts that are reported",
                        "All reported concepts in one model by gradient fusion, tuned and merged "
                        "with the defaults and with all settings that were chosen.");
  table.rows.push_back(row_of(ground, subjects, {"", kDefaults}));
  table.rows.push_back(row_of(ground, subjects, together(chosen)));
  return table;
}

}  // namespace

std::vector<Table> settings(const Ground& ground) {
  const auto subjects = ground.of(Set::kChoose);
  if (subjects.empty()) return {};
  auto table = table_of("Settings, on the concepts that they are chosen on",
                        "All of these concepts in one model by gradient fusion, but for the rows "
                        "that say alone. Settings of tuning have all tunings, those of merging are "
                        "compared on the first.");
  table.rows = scales(ground, subjects);
  const auto defaults = row_of(ground, subjects, {"", kDefaults});
  table.rows.push_back(defaults);
  const bool several_tunings = ground.options.tune_seeds > 1;
  bool has_first = false;
  for (const auto& one : variations(ground, subjects)) {
    auto row = row_of(ground, subjects, one);
    if (several_tunings && one.tune.empty()) {
      if (!has_first) table.rows.push_back(of_first_tuning(defaults, subjects.size()));
      has_first = true;
      row = of_first_tuning(std::move(row), subjects.size());
    }
    table.rows.push_back(std::move(row));
  }
  return {table};
}

std::vector<Table> settings_checked(const Ground& ground, const std::vector<std::string>& chosen) {
  if (chosen.empty()) return {};
  std::vector<Table> tables;
  if (const auto subjects = ground.of(Set::kCheck); !subjects.empty()) {
    tables.push_back(check_of(ground, subjects, those_named(ground, subjects, chosen)));
  }
  if (const auto subjects = ground.of(Set::kReport); !subjects.empty()) {
    tables.push_back(report_of(ground, subjects, those_named(ground, subjects, chosen)));
  }
  return tables;
}

}  // namespace mos::study
