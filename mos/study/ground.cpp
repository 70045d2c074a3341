#include "mos/study/ground.h"

#include "mos/base/log.h"
#include "mos/fuse/method.h"

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

/// How much of a concept's sampling is recorded, a usual merge's being 1. One that records nothing
/// takes as long whatever these options are.
double recorded_share(const fuse::FuseOptions& options) {
  const auto needs = fuse::make_method(options.method, options.of_method)->needs();
  if (needs.inputs != fuse::Recorded::kEverything) return 1.0;
  const fuse::RecordOptions usual;
  const auto recorded = options.record.steps * options.record.samples * (1 + needs.rounds);
  return static_cast<double>(recorded) / static_cast<double>(usual.steps * usual.samples);
}

}  // namespace

Setting::Setting(StudyOptions given)
    : options(std::move(given)),
      prompts(options.prompts.empty() ? own_prompts() : read_prompts(options.prompts)),
      ground{options, prompts, all_subjects(options)} {}

void add_part(const Ground& ground, const std::string& name, Plan& plan) {
  const auto tables = part_named(name).tables(ground);
  if (tables.empty()) {
    log::warn("part " + name + " has nothing to compare: it needs other or more concepts");
  }
  for (const auto& table : tables) plan.add(name, table);
}

Work work_of(const TuneCell& cell) {
  return {"tune " + cell.options.method,
          static_cast<double>(cell.options.optimiser.steps * cell.options.optimiser.batch)};
}

Work work_of(const MergeCell& cell) {
  return {"merge " + cell.spec.merge,
          static_cast<double>(cell.spec.concepts.size()) * recorded_share(cell.options)};
}

Work work_of(const PaintCell& cell, const StudyOptions& options) {
  return {"paint", static_cast<double>(options.pictures * options.steps * cell.spec.columns)};
}

}  // namespace mos::study
