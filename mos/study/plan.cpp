#include "mos/study/plan.h"

#include <fmt/core.h>
#include <torch/version.h>

#include <algorithm>

#include "mos/base/describe.h"
#include "mos/base/error.h"
#include "mos/base/record.h"
#include "mos/base/version.h"
#include "mos/nn/compute.h"
#include "mos/tune/plan.h"
#include "mos/tune/trainer.h"
#include "mos/tune/tune.h"
#include "mos/world/caption.h"

namespace mos::study {

namespace {

constexpr std::int64_t kQuickTuneSteps = 100;
constexpr std::uint64_t kRecordedNoise = 1'000'003;  // beyond the seeds that are measured

/// Raised when the same options come to give another result, by kind of cell: what older programs
/// have made is then outdated.
constexpr int kTuneCode = 1, kMergeCode = 3, kPaintCode = 2, kMeasureCode = 3;

/// Where and in which type, as it comes out: "auto" is another one on another machine.
Json compute_of(const StudyOptions& options, const std::string& dtype) {
  const auto compute = nn::compute_named(options.device, dtype);
  return {{"device", options.device}, {"dtype", nn::name_of(compute.dtype)}};
}

/// Inputs are recorded from noise of their own: a picture that is measured was not shown.
fuse::FuseOptions options_of(const ModelSpec& spec, const StudyOptions& options) {
  fuse::FuseOptions of_merge{.method = spec.merge};
  of_merge.record.seed = options.seed + kRecordedNoise;
  read_options(spec.merge_options, "a merge of the study", of_merge);
  return of_merge;
}

/// Top, left, bottom and right of each.
Json numbers_of(const std::vector<region::Box>& boxes) {
  Json numbers = Json::array();
  for (const auto& [top, left, bottom, right] : boxes) {
    numbers.push_back(Json::array({top, left, bottom, right}));
  }
  return numbers;
}

/// Where a paint cell's model comes from, for painting one model after the other.
std::string model_key(const ModelSpec& spec) { return digest_of(to_json(spec)); }

}  // namespace

tune::TuneOptions options_of(const TuneSpec& spec, const StudyOptions& options) {
  auto of_tuning = tune::method_options(spec.method, options.base);
  auto& steps = of_tuning.optimiser.steps;
  if (options.tune_steps > 0) {
    steps = options.tune_steps;
  } else if (options.quick) {
    steps = std::min(steps, kQuickTuneSteps);
  }
  of_tuning.run.seed = spec.seed;
  of_tuning.run.preview_pictures = 0;
  read_options(spec.options, "a setting of the study", of_tuning);
  return of_tuning;
}

std::vector<region::Box> places(std::size_t count) {
  std::vector<region::Box> boxes;
  // Divided once: 3 times a fifth is more than three fifths, and would begin a position later.
  const auto edge = [count](std::size_t i) {
    return static_cast<double>(i) / static_cast<double>(count);
  };
  for (std::size_t i = 0; i < count; ++i) {
    boxes.push_back({.left = edge(i), .right = edge(i + 1)});
  }
  return boxes;
}

std::string listed_together(const std::vector<std::string>& phrases) {
  std::string all;
  for (std::size_t i = 0; i < phrases.size(); ++i) {
    const bool last = i + 1 == phrases.size();
    all += (i == 0 ? "" : last ? " and a " : ", a ") + phrases[i];
  }
  return all;
}

std::string placed_together(const std::vector<std::string>& phrases) {
  if (phrases.size() < 2 || phrases.size() > kMostInWords) return listed_together(phrases);
  auto nouns = phrases;  // the prompt has the first one's article
  for (std::size_t i = 1; i < nouns.size(); ++i) nouns[i] = "a " + nouns[i];
  return world::caption_text({}, nouns, "");
}

Json Plan::versions() const {
  return {{kProgramKey, version()},
          {"libtorch", TORCH_VERSION},
          {"base", basis_.base_hash},
          {"base_settings", basis_.settings_hash}};
}

std::string Plan::add(const TuneSpec& spec) {
  const auto wish = digest_of(to_json(spec));
  if (const auto found = tuned_.find(wish); found != tuned_.end()) return found->second;
  const auto& subject = subject_named(ground_.subjects, spec.concept_name);
  TuneCell tuning{.subject = &subject, .options = options_of(spec, ground_.options)};
  const tune::ConceptDataset described{.words = subject.words, .class_word = subject.class_word};
  tuning.phrase = tune::concept_phrase(tune::complete_words(tuning.options.words, described));
  tuning.cell = {.kind = "tune",
                 .name = fmt::format("{} {} {}", spec.concept_name, spec.method, spec.seed),
                 .wish = to_json(spec)};
  auto& basis = tuning.cell.basis = versions();
  basis["code"] = kTuneCode;
  basis["compute"] = compute_of(ground_.options, tuning.options.run.dtype);
  basis["pictures"] = subject.digest;
  basis["options"] = write_options(tuning.options);
  const auto key = digest_of(tuning.cell);
  tunings_.emplace(key, std::move(tuning));
  tuned_.emplace(wish, key);
  return key;
}

std::string Plan::add_merge(const ModelSpec& spec, const std::vector<std::string>& tunings) {
  MergeCell merge{.tunings = tunings, .spec = spec, .options = options_of(spec, ground_.options)};
  merge.cell = {.kind = "merge", .name = name_of(spec), .wish = to_json(spec)};
  auto& basis = merge.cell.basis = versions();
  basis["code"] = kMergeCode;
  basis["compute"] = compute_of(ground_.options, merge.options.record.dtype);
  basis["tunings"] = tunings;
  basis["options"] = write_options(merge.options);
  const auto key = digest_of(merge.cell);
  merges_.emplace(key, std::move(merge));
  return key;
}

const Plan::Parts& Plan::add(const std::string& model, const ModelSpec& spec) {
  const auto [place, is_new] = models_.try_emplace(model);
  if (!is_new) return place->second;
  auto& parts = place->second;
  for (const auto& one : spec.concepts) parts.tunings.push_back(add(one));
  if (!spec.merge.empty()) parts.merge = add_merge(spec, parts.tunings);
  return parts;
}

std::string Plan::add(const PaintSpec& spec) {
  PaintCell painting{.spec = spec, .model = model_key(spec.model)};
  const auto& parts = add(painting.model, spec.model);
  painting.tunings = parts.tunings;
  painting.merge = parts.merge;
  painting.cell = {.kind = "paint",
                   .name = fmt::format("{} {}", name_of(spec.model), spec.name),
                   .wish = to_json(spec)};
  const auto& o = ground_.options;
  auto& basis = painting.cell.basis = versions();
  basis["model"] = painting.merge.empty() ? Json(painting.tunings) : Json(painting.merge);
  basis["steps"] = o.steps;
  basis["guidance_scale"] = o.guidance_scale;
  basis["perturbed_attention"] = o.perturbed_attention.value();
  basis["scheduler"] = o.scheduler;
  basis["seed"] = o.seed;
  basis["pictures"] = o.pictures;
  basis["code"] = kPaintCode;
  basis["compute"] = compute_of(o, o.dtype);
  const auto key = digest_of(Json{{"wish", painting.cell.wish}, {"basis", basis}});
  paintings_.emplace(key, std::move(painting));
  return key;
}

std::string Plan::add_measure(MeasureCell measure) {
  const auto& painting = paintings_.at(measure.paint);
  std::vector<std::string> digests;
  Json owners = Json::array();
  for (const auto* subject : measure.subjects) {
    digests.push_back(subject->digest);
    owners.push_back(subject->name);
  }
  measure.cell = {
      .kind = "measure",
      .name = painting.cell.name,
      .wish = {{"paint", painting.cell.wish}, {"subjects", owners}, {"texts", measure.texts}}};
  measure.cell.basis = {{"paint", measure.paint},     {"pictures", digests},
                        {"judge", basis_.judge_hash}, {"texts", measure.texts},
                        {"code", kMeasureCode},       {"boxes", numbers_of(measure.boxes)},
                        {kProgramKey, version()}};
  const auto key = digest_of(measure.cell);
  measures_.emplace(key, std::move(measure));
  return key;
}

std::size_t Plan::prompts_of(const Table& table, const std::string& category) const {
  const auto found = ground_.prompts.find(category);
  if (found == ground_.prompts.end()) {
    throw Error(ErrorKind::kUsage,
                fmt::format("there are no prompts for concepts of the category {}", category));
  }
  auto count =
      std::min(static_cast<std::size_t>(ground_.options.prompts_each), found->second.size());
  if (table.most_prompts > 0) {
    count = std::min(count, static_cast<std::size_t>(table.most_prompts));
  }
  return count;
}

/// How `subject` stands in prompts for `model`: methods do not all tune the same words.
std::string Plan::phrase_in(const ModelSpec& model, const Subject& subject) {
  for (const auto& spec : model.concepts) {
    if (spec.concept_name == subject.name) return tunings_.at(add(spec)).phrase;
  }
  return subject.phrase();
}

std::vector<std::string> Plan::add_one(const Shown& shown, const Table& table) {
  const auto& subject = *shown.subjects.front();
  const auto& prompts = ground_.prompts;
  const auto phrase = phrase_in(shown.model, subject);
  std::vector<std::string> keys;
  for (std::size_t p = 0; p < prompts_of(table, subject.category); ++p) {
    const auto& prompt = prompts.at(subject.category)[p];
    const auto plain = filled(prompt, subject.class_word);
    PaintSpec spec{.model = shown.model, .sampler = shown.sampler};
    spec.scene.prompt = shown.class_word ? plain : filled(prompt, phrase);
    spec.name = fmt::format("{} {}", subject.name, p + 1);
    const auto painting = add(spec);
    keys.push_back(add_measure({.paint = painting, .subjects = shown.subjects, .texts = {plain}}));
  }
  return keys;
}

std::vector<std::string> Plan::add_several(const Shown& shown, const Table& table) {
  const auto& subjects = shown.subjects;
  std::vector<std::string> phrases;
  for (const auto* subject : subjects) {
    phrases.push_back(shown.class_word ? subject->class_word : phrase_in(shown.model, *subject));
  }
  const auto boxes = places(subjects.size());
  std::vector<std::string> keys;
  // The first prompt shows a thing alone; where several are, the others say.
  const auto count = std::max<std::size_t>(1, prompts_of(table, "object"));
  for (std::size_t p = 0; p < count; ++p) {
    const auto& prompt = ground_.prompts.at("object")[p];
    PaintSpec spec{.model = shown.model, .sampler = shown.sampler};
    std::string owners;
    std::vector<std::string> texts;
    for (std::size_t i = 0; i < subjects.size(); ++i) {
      owners += (i == 0 ? "" : " ") + subjects[i]->name;
      texts.push_back(filled(prompt, subjects[i]->class_word));
      if (shown.directly) continue;
      region::Region region{.prompt = filled(prompt, phrases[i]), .box = boxes[i]};
      region.end = shown.region_end;
      spec.scene.regions.push_back(region);
    }
    spec.scene.prompt =
        filled(prompt, shown.directly ? placed_together(phrases) : listed_together(phrases));
    spec.scene.isolate = shown.isolate && !shown.directly;
    spec.scene.base_ratio = shown.base_ratio;
    spec.columns = static_cast<std::int64_t>(subjects.size());
    spec.name = fmt::format("{} {}", owners, p + 1);
    const auto painting = add(spec);
    keys.push_back(
        add_measure({.paint = painting, .subjects = subjects, .boxes = boxes, .texts = texts}));
  }
  return keys;
}

std::vector<std::string> Plan::add(const Shown& shown, const Table& table) {
  return table.of_several ? add_several(shown, table) : add_one(shown, table);
}

void Plan::add(const std::string& part, const Table& table) {
  PlannedTable planned{.part = part, .table = table};
  for (const auto& row : table.rows) {
    PlannedRow of_row{.row = row};
    for (const auto& shown : row.shown) of_row.measures.push_back(add(shown, table));
    planned.rows.push_back(std::move(of_row));
  }
  tables_.push_back(std::move(planned));
}

}  // namespace mos::study
