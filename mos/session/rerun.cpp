#include "rerun.h"

#include <fmt/core.h>
#include <torch/version.h>

#include "compute.h"
#include "conditions.h"
#include "destination.h"
#include "mos/base/file.h"
#include "mos/base/log.h"
#include "mos/base/outputs.h"
#include "mos/base/runtime.h"
#include "paint_progress.h"
#include "picture_record.h"
#include "studio.h"
#include "terminal.h"

namespace mos::app {
namespace {

namespace fs = std::filesystem;

void warn_of_other_versions(const PictureRecord& record) {
  if (record.program == MOS_VERSION && record.libtorch == TORCH_VERSION) return;
  log::warn(fmt::format("the picture is from mos {} with LibTorch {}, this is mos {} with {}",
                        record.program, record.libtorch, MOS_VERSION, TORCH_VERSION));
}

/// The record's concepts, from `moved` files where there are any.
std::vector<ConceptUse> concepts_of(const PictureRecord& record,
                                    const std::vector<ConceptUse>& moved) {
  auto uses = record.concepts;
  if (moved.empty()) return uses;
  if (moved.size() != uses.size()) {
    throw Error(ErrorKind::kUsage, fmt::format("--concept names {} files, but the picture was made "
                                               "with {}",
                                               moved.size(), uses.size()));
  }
  for (std::size_t i = 0; i < uses.size(); ++i) uses[i].file = moved[i].file;
  return uses;
}

/// How the base is read now. Its hash tells the right weights wherever they lie, so a base that has
/// moved starts without the record's variant; what it predicts is part of the picture.
checkpoint::ReadOptions moved_read(Flags& flags, const checkpoint::ReadOptions& recorded,
                                   bool has_moved) {
  auto read = has_moved ? checkpoint::ReadOptions() : recorded;
  read.prediction_type = recorded.prediction_type;
  read_flags(flags, read);
  if (read.prediction_type == recorded.prediction_type) return read;
  throw Error(ErrorKind::kUsage,
              fmt::format("the picture was made with the prediction type \"{}\", --prediction-type "
                          "is \"{}\"; paint a new one with --prompt or --scene instead",
                          recorded.prediction_type, read.prediction_type));
}

}  // namespace

int rerun(Flags& flags, const fs::path& picture) {
  const auto old_bytes = read_text_file(picture);
  auto record = read_record(picture);
  const auto moved_base = flags.take("base");
  const auto base = moved_base.value_or(record.base);
  const auto read = moved_read(flags, record.read, moved_base.has_value());
  const auto uses = concepts_of(record, take_concepts(flags, 1.0));
  auto scene = moved_conditions(flags, record.scene);
  const auto out = flags.take_path("out");
  const auto keys = take_key_options(flags);
  flags.refuse_unknown();
  flags.refuse_words();
  const Destination destination(out.value_or(picture), false);
  Outputs outputs;
  if (out) outputs.read("--rerun", picture);  // else it is written again where it is the same
  outputs.read("--base", base);
  for (const auto& use : uses) outputs.read("--concept", use.file);
  read_conditions(outputs, scene);
  destination.announce(outputs, record.seed, 1);
  outputs.check();
  warn_of_other_versions(record);

  set_threads(record.threads);
  const auto device = device_named(record.device);
  auto studio = open_studio(
      {base, uses, record.base_hash, device, dtype_named(record.dtype, device), keys, read});
  record.program = MOS_VERSION;
  record.libtorch = TORCH_VERSION;
  PaintProgress progress(1);
  const region::PaintInputs inputs{{}, load_conditions(studio, scene)};
  const auto pictures =
      region::sample_pictures(studio.model, studio.tokens, record.scene, record.options, inputs,
                              progress.of_batch(0), cancel_on_interrupt());
  const auto& pixels = pictures[static_cast<std::int64_t>(record.seed - record.options.seed)];
  const bool same = picture_bytes(pixels, record) == old_bytes;
  const auto differs = fmt::format(
      "the new picture is not the same as {}: it was made by another "
      "version, or on a machine that rounds differently",
      picture.string());
  if (!same && !out) {
    throw Error(ErrorKind::kMismatch, differs + "; name a place for the new one with --out");
  }
  if (!same) log::warn(differs);
  destination.make_folder();
  const auto path = destination.path(record.seed);
  write_picture(path, pixels, record);
  fmt::print("{}\n", path.string());
  return 0;
}

}  // namespace mos::app
