#include <fmt/core.h>

#include <algorithm>
#include <cstdint>
#include <set>
#include <string>
#include <utility>

#include "mos/study/parts.h"
#include "mos/study/plan.h"
#include "mos/tune/options.h"

/// What decides quality. Every setting is told from the defaults on the concepts that settings are
/// chosen on; the best of each group then stands beside the defaults on those that check it. What
/// tables report is measured on neither.
namespace mos::study {
namespace {

/// One setting: what it changes in tuning, and in merging.
struct Variation {
  std::string group, name;
  Json tune = Json::object(), merge = Json::object();
};

constexpr const char* kDefaults = "defaults";
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
  for (const char* target : {"average", "sum", "base"}) {
    all.push_back(
        {"target", fmt::format("ridge towards {}", target), kNothing, {{"ridge_towards", target}}});
  }
  all.push_back({"fitted", "padded texts", kNothing, {{"fit_text", "padded"}}});
  for (const int steps : {1, 5, 10, 20}) {
    all.push_back(
        {"recorded", fmt::format("{} recorded steps", steps), kNothing, {{"steps", steps}}});
  }
  all.push_back({"recorded", "four recorded pictures", kNothing, {{"samples", 4}}});
  const Json prompts = {"photo of a <TOK>", "<TOK>", "a <TOK> on the beach", "a <TOK> in the snow",
                        "a <TOK> at night"};
  for (const double guidance : {2.0, 3.0}) {
    all.push_back({"recorded",
                   fmt::format("recorded at a guidance of {}", guidance),
                   kNothing,
                   {{"guidance_scale", guidance}}});
  }
  all.push_back({"prompts", "five recorded prompts", kNothing, {{"prompts", prompts}}});
  all.push_back({"rounds", "one more round", kNothing, {{"rounds", 1}}});
  all.push_back({"rounds", "two more rounds", kNothing, {{"rounds", 2}}});
  all.push_back({"weights", "inverse energy", kNothing, {{"balance", "energy"}}});
  std::set<std::string> classes;
  for (const auto* subject : subjects) classes.insert(subject->class_word);
  all.push_back({"keep", "the base's own class words", kNothing, {{"keep", classes}}});
  return all;
}

Row row_of(const Ground& ground, const std::vector<const Subject*>& subjects,
           const Variation& variation) {
  Row row{.name = variation.name,
          .against = variation.name == kDefaults ? "" : kDefaults,
          .group = variation.group,
          .settings = {{"tune", variation.tune}, {"merge", variation.merge}}};
  auto model =
      model_of(ground, subjects,
               {.tune = ground.options.method, .merge = "gradient", .options = variation.merge});
  for (auto& one : model.concepts) one.options = variation.tune;
  for (const auto* subject : subjects) row.shown.push_back({.model = model, .subjects = {subject}});
  return row;
}

/// The same at other scales of what a single tuning learned, without a merge.
std::vector<Row> scales(const Ground& ground, const std::vector<const Subject*>& subjects) {
  std::vector<Row> rows;
  for (const double scale : {0.0, 0.7, 1.0}) {
    Row row{.name = fmt::format("alone, LoRA scale {}", scale)};
    for (const auto* subject : subjects) {
      row.shown.push_back(
          {.model = {.concepts = {tuned(ground, *subject, ground.options.method)}, .scale = scale},
           .subjects = {subject}});
    }
    rows.push_back(row);
  }
  return rows;
}

Table table_of(const std::string& title, const std::string& note) {
  return {.title = title, .note = note, .most_prompts = 5};
}

}  // namespace

std::vector<Table> settings(const Ground& ground) {
  const auto subjects = ground.of(Set::kChoose);
  if (subjects.empty()) return {};
  auto table = table_of("Settings, on the concepts that they are chosen on",
                        "All of these concepts in one model by gradient fusion, but for the rows "
                        "that say alone. What is best here is reported on nowhere.");
  table.rows = scales(ground, subjects);
  table.rows.push_back(row_of(ground, subjects, {"", kDefaults}));
  for (const auto& one : of_tuning(ground)) table.rows.push_back(row_of(ground, subjects, one));
  for (const auto& one : of_merging(subjects)) table.rows.push_back(row_of(ground, subjects, one));
  return {table};
}

std::vector<Table> settings_checked(const Ground& ground, const std::vector<std::string>& chosen) {
  const auto subjects = ground.of(Set::kCheck);
  if (subjects.empty() || chosen.empty()) return {};
  auto table = table_of("Settings, on the concepts that check the choice",
                        "The best of each group above, on concepts that had no part in choosing.");
  table.rows.push_back(row_of(ground, subjects, {"", kDefaults}));
  auto all = of_tuning(ground);
  const auto more = of_merging(subjects);
  all.insert(all.end(), more.begin(), more.end());
  for (const auto& one : all) {
    if (std::find(chosen.begin(), chosen.end(), one.name) != chosen.end()) {
      table.rows.push_back(row_of(ground, subjects, one));
    }
  }
  return {table};
}

}  // namespace mos::study
