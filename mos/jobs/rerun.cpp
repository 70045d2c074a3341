#include "mos/session/rerun.h"

#include <fmt/core.h>
#include <torch/version.h>

#include "mos/base/describe.h"
#include "mos/base/error.h"
#include "mos/base/file.h"
#include "mos/base/log.h"
#include "mos/base/outputs.h"
#include "mos/base/version.h"
#include "mos/io/image.h"
#include "mos/jobs/idle_options.h"
#include "mos/jobs/sample.h"
#include "mos/session/conditions.h"
#include "mos/session/destination.h"
#include "mos/session/picture_inputs.h"
#include "mos/session/recorded_files.h"

namespace mos::jobs {
namespace {

namespace fs = std::filesystem;

/// What the record says is there, unless the job says where else.
void check_files(const RerunJob& job, const session::PictureRecord& record) {
  const auto check = [](bool is_moved, const char* what, const std::string& path,
                        const char* option) {
    if (!is_moved) session::check_recorded(what, path, option);
  };
  check(!job.base.empty(), "the model", record.base, "--base");
  for (const auto& use : record.concepts) {
    check(!job.concepts.empty(), "the concept", use.file, "--concept");
  }
  for (const auto& condition : record.scene.conditions) {
    check(!job.adapters.empty(), "the adapter", condition.adapter, "--adapter");
    check(!job.conditions.empty(), "the condition picture", condition.picture, "--condition");
  }
  for (const auto& region : record.scene.regions) {
    check(!job.region_masks.empty(), "the mask", region.mask, "--region-mask");
  }
  check(!job.init.empty(), "the picture", record.options.pictures.init, "--init");
  check(!job.mask.empty(), "the mask", record.options.pictures.mask, "--mask");
}

void check_outputs(const RerunJob& job, const session::PictureRecord& now,
                   const session::Destination& destination) {
  Outputs outputs;
  if (!job.out.empty()) outputs.read("--rerun", job.picture);  // else it is written again
  outputs.read("--base", now.base);
  for (const auto& use : now.concepts) outputs.read("--concept", use.file);
  session::read_conditions(outputs, now.scene);
  session::read_pictures(outputs, now.scene, now.options.pictures);
  destination.announce(outputs, now.seed, 1);
  outputs.check();
}

void warn_of_other_versions(const session::PictureRecord& record) {
  if (record.program == version() && record.libtorch == TORCH_VERSION) return;
  log::warn(fmt::format("the picture is from mos {} with LibTorch {}, this is mos {} with {}",
                        record.program, record.libtorch, version(), TORCH_VERSION));
}

/// How the new picture compares with the old file.
enum class Likeness {
  kSameFile,    ///< To the byte.
  kSamePixels,  ///< Stored otherwise: by another program, say.
  kOther,
};

Likeness likeness(const torch::Tensor& pixels, const std::string& old_bytes,
                  const session::PictureRecord& record, const fs::path& picture) {
  if (session::picture_bytes(pixels, record) == old_bytes) return Likeness::kSameFile;
  const auto before = io::read_image(picture).pixels;
  const bool same = before.sizes() == pixels.sizes() && before.equal(pixels);
  return same ? Likeness::kSamePixels : Likeness::kOther;
}

/// Says so where the new picture is not the old file and has a place of its own.
void tell_likeness(const RerunJob& job, Likeness likeness) {
  if (likeness == Likeness::kSameFile) return;
  if (likeness == Likeness::kSamePixels) {
    log::info(fmt::format("every pixel is as in {}, whose file is stored otherwise", job.picture));
    return;
  }
  const auto differs = fmt::format(
      "the new picture is not the same as {}: it was made by another version, or on a machine that "
      "rounds differently",
      job.picture);
  if (job.out.empty()) {
    throw Error(ErrorKind::kMismatch, differs + "; name a place for the new one with --out");
  }
  log::warn(differs);
}

}  // namespace

void check(const RerunJob& job) {
  if (job.picture.empty()) throw Error(ErrorKind::kUsage, "--rerun needs a picture");
  check_fields(job);
}

fs::path run(const RerunJob& job, const JobContext& context) {
  const log::ScopedSink sink(context.log);
  check(job);
  const auto old_bytes = read_whole_file(job.picture);
  auto record = session::read_record(job.picture);
  const session::MovedFiles moved{.base = job.base,
                                  .read = job.read,
                                  .concepts = job.concepts,
                                  .adapters = job.adapters,
                                  .pictures = job.conditions,
                                  .init = job.init,
                                  .mask = job.mask,
                                  .region_masks = job.region_masks};
  const session::Destination destination(job.out.empty() ? job.picture : job.out,
                                         /*several=*/false);
  const auto now = session::with_moved(record, moved);
  check_files(job, record);
  check_outputs(job, now, destination);
  warn_of_other_versions(record);
  if (record.concepts.empty()) warn_of_idle_keys(job.keys);
  const auto pixels = session::repaint(record, moved, job.keys,
                                       {.progress = context.progress, .cancel = context.cancel});
  record.program = version();
  record.libtorch = TORCH_VERSION;
  const auto found = likeness(pixels, old_bytes, record, job.picture);
  tell_likeness(job, found);
  if (job.out.empty() && found == Likeness::kSamePixels) {  // nothing of it is to be lost
    tell_result(context, job.picture);
    return job.picture;
  }
  destination.make_folder();
  const auto path = destination.path(record.seed);
  session::write_picture(path, pixels, record);
  tell_result(context, path.string());
  return path;
}

}  // namespace mos::jobs
