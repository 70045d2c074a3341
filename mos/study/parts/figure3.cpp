#include <array>

#include "mos/study/parts.h"
#include "mos/study/titles.h"
#include "mos/world/world.h"

/// Figure 3: which methods put a concept into its words, and which into the weights.
namespace mos::study {
namespace {

struct Tuned {
  const char* method;
  bool has_weights;
};
constexpr std::array kTuned = {Tuned{"textual_inversion", false}, Tuned{"p_plus", false},
                               Tuned{"lora", true}, Tuned{"ed_lora", true}};

std::vector<Shown> at_scale(const Ground& ground, const std::vector<const Subject*>& subjects,
                            const char* method, double scale) {
  std::vector<Shown> shown;
  for (const auto* subject : subjects) {
    shown.push_back({.model = {.concepts = {tuned(ground, *subject, method)}, .scale = scale},
                     .subjects = {subject}});
  }
  return shown;
}

Table table_of(const Ground& ground, const std::vector<const Subject*>& subjects,
               const std::string& title) {
  Table table{.title = title,
              .note =
                  "Reported concepts. Words alone: the tuned words with the base's own "
                  "weights (LoRA scale 0).",
              .most_prompts = 5};
  for (const auto& way : kTuned) {
    const auto name = title_of_tuning(way.method);
    // Without weights a scale of them is none: the pictures are those of the tuning alone.
    table.rows.push_back(
        {.name = name + ", words alone",
         .shown = at_scale(ground, subjects, way.method, way.has_weights ? 0.0 : 1.0)});
    if (!way.has_weights) continue;
    table.rows.push_back({.name = name,
                          .against = name + ", words alone",
                          .shown = at_scale(ground, subjects, way.method, 1.0)});
  }
  return table;
}

bool is_of_world(const Subject& subject) {
  for (const auto& style : world::all_styles()) {
    if (style.folder == subject.style) return true;
  }
  return false;
}

}  // namespace

std::vector<Table> figure3(const Ground& ground) {
  std::vector<const Subject*> known, unknown;
  for (const auto* subject : ground.of(Set::kReport)) {
    (is_of_world(*subject) ? known : unknown).push_back(subject);
  }
  std::vector<Table> tables;
  if (!known.empty()) {
    tables.push_back(table_of(ground, known, "Figure 3: concepts in a style that the base knows"));
  }
  if (!unknown.empty()) {
    tables.push_back(
        table_of(ground, unknown, "Figure 3: concepts in a style that the base does not know"));
  }
  return tables;
}

}  // namespace mos::study
