#include "mos/session/rerun.h"

#include <fmt/core.h>

#include <utility>

#include "mos/base/error.h"
#include "mos/base/runtime.h"
#include "mos/nn/compute.h"
#include "mos/session/composition.h"
#include "mos/session/conditions.h"
#include "mos/session/picture_inputs.h"

namespace mos::session {
namespace {

checkpoint::ReadOptions moved_read(const checkpoint::ReadOptions& recorded,
                                   const MovedFiles& moved) {
  // A base that has moved may lie there in another variant; its hash decides whether it is the one.
  auto read = moved.base.empty() ? recorded : checkpoint::ReadOptions();
  read.prediction_type = recorded.prediction_type;
  if (!moved.read.variant.empty()) read.variant = moved.read.variant;
  if (!moved.read.original_config.empty()) read.original_config = moved.read.original_config;
  if (moved.read.ema) read.ema = true;
  const auto& predicts = moved.read.prediction_type;
  if (predicts.empty() || predicts == recorded.prediction_type) return read;
  throw Error(ErrorKind::kUsage,
              fmt::format("the picture was made with the prediction type \"{}\", --prediction-type "
                          "is \"{}\"; paint a new one with --prompt or --scene instead",
                          recorded.prediction_type, predicts));
}

/// Puts `files`, if there are any, into `field` of what the record has.
template <class Entry>
void move(std::vector<Entry>& entries, std::string Entry::*field, const std::string& name,
          const std::vector<std::string>& files) {
  if (files.empty()) return;
  if (files.size() != entries.size()) {
    throw Error(ErrorKind::kUsage,
                fmt::format("--{} names {} files, but the picture was made with {}", name,
                            files.size(), entries.size()));
  }
  for (std::size_t i = 0; i < files.size(); ++i) entries[i].*field = files[i];
}

/// Puts `file`, if there is one, in the place of the record's own.
void move(std::string& recorded, const std::string& name, const std::string& file) {
  if (file.empty()) return;
  if (recorded.empty()) {
    throw Error(ErrorKind::kUsage,
                fmt::format("--{} names a file, but the picture was made without one", name));
  }
  recorded = file;
}

void move_region_masks(std::vector<region::Region>& regions,
                       const std::vector<std::string>& files) {
  std::vector<region::Region> masked;
  for (const auto& region : regions) {
    if (!region.mask.empty()) masked.push_back(region);
  }
  move(masked, &region::Region::mask, "region-mask", files);
  auto next = masked.begin();
  for (auto& region : regions) {
    if (!region.mask.empty()) region.mask = (next++)->mask;
  }
}

}  // namespace

PictureRecord with_moved(PictureRecord record, const MovedFiles& moved) {
  record.read = moved_read(record.read, moved);
  if (!moved.base.empty()) record.base = moved.base;
  move(record.concepts, &ConceptUse::file, "concept", moved.concepts);
  move(record.scene.conditions, &region::Condition::adapter, "adapter", moved.adapters);
  move(record.scene.conditions, &region::Condition::picture, "condition", moved.pictures);
  move(record.options.pictures.init, "init", moved.init);
  move(record.options.pictures.mask, "mask", moved.mask);
  move_region_masks(record.scene.regions, moved.region_masks);
  return record;
}

torch::Tensor repaint(const PictureRecord& record, const MovedFiles& moved, const KeyOptions& keys,
                      const PaintHooks& hooks) {
  auto now = with_moved(record, moved);
  // Sums are divided among threads: another number rounds otherwise.
  const ScopedThreads threads(record.threads);
  const auto compute = nn::compute_named(record.device, record.dtype);
  auto session = open_session({.base = now.base,
                               .concepts = now.concepts,
                               .base_hash = record.base_hash,
                               .device = compute.device,
                               .dtype = compute.dtype,
                               .keys = keys,
                               .read = now.read,
                               .compose = now.options.sampler.compose});
  region::PaintInputs inputs{{}, load_conditions(session, now.scene)};
  inputs.start = load_pictures(now.scene, now.options.pictures);
  Composition composition(session, now.scene, now.options);
  const PaintProgress progress(hooks.progress, 1);
  const auto pictures = region::sample_pictures(
      session.model, session.tokens, now.scene, now.options, composition.of_scene(inputs),
      composition.with_turns(progress.of_batch(0)), hooks.cancel);
  return pictures[static_cast<std::int64_t>(record.seed - record.options.seed)];
}

}  // namespace mos::session
