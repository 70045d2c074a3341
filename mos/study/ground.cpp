#include "mos/study/ground.h"

#include "mos/base/log.h"

namespace mos::study {
namespace {

constexpr std::size_t kQuickConcepts = 3;

std::vector<Subject> all_subjects(const StudyOptions& options) {
  auto subjects = load_subjects(options.concepts, Set::kReport);
  if (options.quick && subjects.size() > kQuickConcepts) {
    log::info("a quick study takes the first three concepts");
    subjects.resize(kQuickConcepts);
  }
  for (const auto set : {Set::kChoose, Set::kCheck}) {
    auto more = load_subjects(set == Set::kChoose ? options.choose : options.check, set);
    subjects.insert(subjects.end(), more.begin(), more.end());
  }
  check_disjoint(subjects);
  return subjects;
}

}  // namespace

Setting::Setting(StudyOptions given)
    : options(std::move(given)),
      prompts(options.prompts.empty() ? own_prompts() : read_prompts(options.prompts)),
      ground{options, prompts, all_subjects(options)} {}

void add_parts(const Ground& ground, Plan& plan) {
  for (const auto& name : ground.options.parts) {
    const auto tables = part_named(name).tables(ground);
    if (tables.empty()) {
      log::warn("part " + name + " has nothing to compare: it needs other or more concepts");
    }
    for (const auto& table : tables) plan.add(name, table);
  }
}

Work work_of(const TuneCell& cell) {
  return {"tune " + cell.options.method, static_cast<double>(cell.options.optimiser.steps)};
}

Work work_of(const MergeCell& cell) {
  return {"merge " + cell.spec.merge, static_cast<double>(cell.spec.concepts.size())};
}

Work work_of(const PaintCell& cell, const StudyOptions& options) {
  return {"paint", static_cast<double>(options.pictures * options.steps * cell.spec.columns)};
}

}  // namespace mos::study
