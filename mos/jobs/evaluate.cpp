#include "mos/jobs/evaluate.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <span>

#include "mos/base/error.h"
#include "mos/base/folder.h"
#include "mos/base/stopwatch.h"
#include "mos/eval/clip_score.h"
#include "mos/io/image.h"
#include "mos/io/picture_name.h"

namespace mos::jobs {
namespace {

namespace fs = std::filesystem;
using torch::Tensor;

/// `path` itself, or the pictures of a folder: of its images/, if it has one as concepts do.
std::vector<fs::path> pictures_of(const fs::path& path) {
  if (!fs::is_directory(path)) return {path};
  const auto inside = path / "images";
  std::vector<fs::path> pictures;
  for (const auto& entry : entries_of(fs::is_directory(inside) ? inside : path)) {
    if (io::is_picture_name(entry)) pictures.push_back(entry);
  }
  if (!pictures.empty()) return pictures;
  throw Error(ErrorKind::kFormat,
              fmt::format("{} has no pictures; expected .png, .jpg or .webp", path.string()));
}

/// The rows and columns of [H,W,3] that `part` names.
Tensor part_of(const Tensor& pixels, const std::vector<double>& part) {
  if (part.empty()) return pixels;
  const auto cut = [&](const Tensor& from, std::int64_t axis, double begin, double end) {
    const auto length = static_cast<double>(from.size(axis));
    const auto first = std::min(std::llround(begin * length), std::llround(length) - 1);
    return from.narrow(axis, first, std::max(1LL, std::llround(end * length) - first));
  };
  return cut(cut(pixels, 0, part[0], part[2]), 1, part[1], part[3]);
}

/// Embeds pictures one by one, whatever their sizes: [N,D].
class Eyes {
 public:
  Eyes(const EvaluateJob& job, const JobContext& context)
      : context_(context),
        scorer_(job.clip.empty() ? eval::ClipScorer::load_judge(job.base)
                                 : eval::ClipScorer::load(job.clip, job.clip)) {}

  Tensor see(const std::vector<fs::path>& pictures, const std::string& stage,
             const std::vector<double>& part = {}, std::int64_t columns = 1) {
    const Stopwatch watch;
    std::vector<Tensor> embeds;
    std::int64_t done = 0;
    for (const auto& path : pictures) {
      if (context_.cancel != nullptr) context_.cancel->check();
      // One by one: pictures may differ in size, and the scorer brings each to its own.
      const auto pixels = part_of(io::to_rgb(io::read_image(path).pixels), part);
      for (const auto& one : pixels.chunk(columns, 1)) {
        embeds.push_back(scorer_.image_embeds(one.contiguous().unsqueeze(0)));
      }
      ++done;
      if (!context_.progress) continue;
      context_.progress({.stage = stage,
                         .step = done,
                         .total = static_cast<std::int64_t>(pictures.size()),
                         .loss = std::numeric_limits<double>::quiet_NaN(),
                         .seconds = watch.seconds()});
    }
    return torch::cat(embeds);
  }

  Tensor read(const std::string& text) { return scorer_.text_embeds(std::span(&text, 1)); }

 private:
  const JobContext& context_;
  eval::ClipScorer scorer_;
};

}  // namespace

void check(const EvaluateJob& job) {
  if (job.pictures.empty()) {
    throw Error(ErrorKind::kUsage, "mos evaluate needs pictures; see mos evaluate --help");
  }
  if (job.references.empty() && job.prompt.empty()) {
    throw Error(ErrorKind::kUsage,
                "there is nothing to compare with: give --references, --prompt, or both");
  }
  check_fields(job);
  const auto& part = job.part;
  if (!part.empty() && (part.size() != 4 || part[0] >= part[2] || part[1] >= part[3])) {
    throw Error(ErrorKind::kUsage,
                "--part is top, left, bottom, right: four numbers, each side before its opposite");
  }
}

Evaluation run(const EvaluateJob& job, const JobContext& context) {
  const log::ScopedSink sink(context.log);
  check(job);
  std::vector<fs::path> pictures;
  for (const auto& path : job.pictures) {
    for (auto& picture : pictures_of(path)) pictures.push_back(std::move(picture));
  }
  Eyes eyes(job, context);
  Evaluation result;
  const auto seen = eyes.see(pictures, "looking at the pictures", job.part, job.columns);
  result.pictures = seen.size(0);
  if (!job.references.empty()) {
    const auto references = eyes.see(pictures_of(job.references), "looking at the references");
    const auto alignment = eval::image_alignment(seen, references);
    result.references = references.size(0);
    result.image_alignment = alignment.all_pairs;
    result.first_reference = alignment.first_reference;
    // Of one picture there is nothing to leave out.
    if (result.references > 1) {
      result.references_among_themselves = eval::leave_one_out_alignment(references);
    }
  }
  if (!job.prompt.empty())
    result.text_alignment = eval::text_alignment(seen, eyes.read(job.prompt));
  return result;
}

Json to_json(const Evaluation& evaluation) {
  Json json = {{"pictures", evaluation.pictures}};
  if (evaluation.references > 0) json["references"] = evaluation.references;
  for (const auto& [name, value] :
       {std::pair{"image_alignment", evaluation.image_alignment},
        std::pair{"first_reference", evaluation.first_reference},
        std::pair{"references_among_themselves", evaluation.references_among_themselves},
        std::pair{"text_alignment", evaluation.text_alignment}}) {
    if (value) json[name] = *value;
  }
  return json;
}

}  // namespace mos::jobs
