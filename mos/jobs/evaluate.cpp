#include "mos/jobs/evaluate.h"

#include <fmt/core.h>

#include <algorithm>
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

/// Embeds pictures one by one, whatever their sizes: [N,D].
class Eyes {
 public:
  Eyes(const EvaluateJob& job, const JobContext& context)
      : context_(context),
        scorer_(job.clip.empty() ? eval::ClipScorer::load_judge(job.base)
                                 : eval::ClipScorer::load(job.clip, job.clip)) {}

  Tensor see(const std::vector<fs::path>& pictures, const std::string& stage) {
    const Stopwatch watch;
    std::vector<Tensor> embeds;
    for (const auto& path : pictures) {
      if (context_.cancel != nullptr) context_.cancel->check();
      // One by one: pictures may differ in size, and the scorer brings each to its own.
      embeds.push_back(scorer_.image_embeds(io::to_rgb(io::read_image(path).pixels).unsqueeze(0)));
      if (!context_.progress) continue;
      context_.progress({.stage = stage,
                         .step = static_cast<std::int64_t>(embeds.size()),
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
}

Evaluation run(const EvaluateJob& job, const JobContext& context) {
  const log::ScopedSink sink(context.log);
  check(job);
  std::vector<fs::path> pictures;
  for (const auto& path : job.pictures) {
    for (auto& picture : pictures_of(path)) pictures.push_back(std::move(picture));
  }
  Eyes eyes(job, context);
  Evaluation result{.pictures = static_cast<std::int64_t>(pictures.size())};
  const auto seen = eyes.see(pictures, "looking at the pictures");
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
