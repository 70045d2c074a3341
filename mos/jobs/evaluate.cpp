#include "mos/jobs/evaluate.h"

#include <fmt/core.h>

#include <algorithm>
#include <filesystem>
#include <stdexcept>

#include "mos/base/counted.h"
#include "mos/base/error.h"
#include "mos/base/file.h"
#include "mos/base/outputs.h"
#include "mos/base/record.h"
#include "mos/base/version.h"
#include "mos/eval/page.h"
#include "mos/io/image.h"
#include "mos/jobs/eyes.h"
#include "mos/session/output_kinds.h"

namespace mos::jobs {
namespace {

namespace fs = std::filesystem;
using torch::Tensor;
using Paths = std::vector<fs::path>;

void check_places(const EvaluateJob& job, const JobContext& context) {
  Outputs outputs;
  for (const auto& path : job.pictures) outputs.read("the pictures", path);
  outputs.read("--references", job.references);
  outputs.read("--class-pictures", job.class_pictures);
  for (const auto& path : job.region_references) outputs.read("--region-references", path);
  outputs.read("--scene", job.scene);
  outputs.read("--base", job.base);
  outputs.read("--clip", job.clip);
  outputs.read("--dino", job.dino);
  outputs.read("--config", context.config);
  if (!job.out.empty()) {
    outputs.write(FileOutput{.name = "--out", .path = job.out, .kind = session::report_kind()});
  }
  if (!job.page.empty()) {
    outputs.write(FileOutput{.name = "--page", .path = job.page, .kind = eval::page_kind()});
  }
  outputs.check();
}

void check_ending(const char* option, const std::string& path, const char* ending) {
  if (path.empty() || fs::path(path).extension() == ending) return;
  throw Error(ErrorKind::kUsage,
              fmt::format("{} is \"{}\", expected a name that ends in {}", option, path, ending));
}

/// An evaluation under way.
class Evaluating {
 public:
  Evaluating(const EvaluateJob& job, const JobContext& context)
      : job_(job),
        pictures_(pictures_of(job.pictures)),
        eyes_(job, context),
        look_{job.part, job.columns} {}

  Evaluation run() {
    const auto seen = eyes_.see(pictures_, "looking at the pictures", look_);
    result_.pictures = seen.clip.size(0);
    Eyes::Seen own;
    if (!job_.references.empty()) own = look_at_references();
    measure("", seen, own, pictures_);
    if (!job_.class_pictures.empty()) {
      const auto others = pictures_of(fs::path(job_.class_pictures));
      measure("class_", eyes_.see(others, "looking at the class pictures", look_), own, others);
    }
    if (!job_.region_references.empty()) measure_regions();
    return std::move(result_);
  }

 private:
  Eyes::Seen look_at_references() {
    auto own = eyes_.see(pictures_of(fs::path(job_.references)), "looking at the references");
    result_.references = own.clip.size(0);
    // Of one picture there is nothing to leave out.
    if (result_.references > 1) {
      result_.references_among_themselves = eval::leave_one_out_alignment(own.clip);
    }
    return own;
  }

  void add(const std::string& name, const Tensor& of_each, const Paths& pictures) {
    const auto [table, is_told] = by_prompt(of_each, pictures);
    result_.figures.emplace_back(name, eval::bootstrap(table, {.seed = job_.seed}));
    result_.resampled = is_told ? "prompts and seeds" : "pictures";
  }

  void measure(const std::string& prefix, const Eyes::Seen& seen, const Eyes::Seen& own,
               const Paths& pictures) {
    if (own.clip.defined()) {
      const auto [all, first] = eval::alignment_of_each(seen.clip, own.clip);
      add(prefix + "image_alignment", all, pictures);
      add(prefix + "first_reference", first, pictures);
    }
    if (!job_.prompt.empty()) {
      add(prefix + "text_alignment",
          eval::text_alignment_of_each(seen.clip, eyes_.read(job_.prompt)), pictures);
    }
    if (own.dino.defined()) {
      add(prefix + "dino", eval::alignment_of_each(seen.dino, own.dino).all_pairs, pictures);
    }
  }

  /// The boxes of `picture`'s regions, those of the scene file or of its own record.
  std::vector<region::Box> boxes_of(const fs::path& picture) const {
    region::Scene scene;
    if (!job_.scene.empty()) {
      const auto pixels = io::read_image(picture).pixels;
      scene = region::scene_from_json(read_json_file(job_.scene), job_.scene,
                                      {pixels.size(0), pixels.size(1)});
    } else if (const auto told = told_by(picture)) {
      scene = told->scene;
    }
    if (scene.regions.size() != job_.region_references.size()) {
      throw Error(ErrorKind::kMismatch,
                  fmt::format("{} has {}, but --region-references names {}; name "
                              "the regions with --scene if they are not in its record",
                              picture.string(), counted(scene.regions.size(), "region"),
                              counted(job_.region_references.size(), "folder")));
    }
    std::vector<region::Box> boxes;
    for (const auto& one : scene.regions) boxes.push_back(one.box);
    return boxes;
  }

  void measure_regions() {
    std::vector<Tensor> references;
    for (const auto& folder : job_.region_references) {
      references.push_back(
          eyes_.see(pictures_of(fs::path(folder)), "looking at the regions' references").clip);
    }
    std::vector<std::vector<region::Box>> boxes;
    for (const auto& picture : pictures_) boxes.push_back(boxes_of(picture));
    for (std::size_t r = 0; r < references.size(); ++r) {
      std::vector<Tensor> crops;
      for (std::size_t i = 0; i < pictures_.size(); ++i) {
        const auto& box = boxes[i][r];
        crops.push_back(eyes_
                            .see({pictures_[i]}, "looking at the regions",
                                 {.part = {box.top, box.left, box.bottom, box.right}})
                            .clip);
      }
      result_.regions.push_back(figures_of_region(torch::cat(crops), r, references));
    }
  }

  RegionFigures figures_of_region(const Tensor& crops, std::size_t own,
                                  const std::vector<Tensor>& references) const {
    const auto interval = [&](const Tensor& values) {
      return eval::bootstrap(by_prompt(values, pictures_).table, {.seed = job_.seed});
    };
    const auto margins = eval::margin_of_each(crops, own, references);
    return {.references = job_.region_references[own],
            .identity = interval(eval::alignment_of_each(crops, references[own]).all_pairs),
            .margin = interval(margins),
            .positive = eval::share_of(margins.gt(0).sum().item<std::int64_t>(), margins.size(0))};
  }

  const EvaluateJob& job_;
  Paths pictures_;
  Eyes eyes_;
  Look look_;
  Evaluation result_;
};

std::string bounds_text(const eval::Interval& interval) {
  return fmt::format("{:.3f} ({:.3f} to {:.3f})", interval.mean, interval.low, interval.high);
}

void add_pictures(eval::Page& page, const char* heading, const std::vector<std::string>& paths) {
  page.heading(heading);
  std::vector<eval::ShownPicture> row;
  for (const auto& path : pictures_of(paths)) {
    const auto told = told_by(path);
    row.push_back(eval::shown(io::to_rgb(io::read_image(path).pixels),
                              told ? fmt::format("{} (seed {})", told->scene.prompt, told->seed)
                                   : path.filename().string()));
  }
  page.pictures(row);
}

std::string page_of(const EvaluateJob& job, const Evaluation& figures) {
  eval::Page page("Pictures, measured");
  std::vector<std::vector<std::string>> rows;
  for (const auto& [name, interval] : figures.figures)
    rows.push_back({name, bounds_text(interval)});
  if (figures.references_among_themselves) {
    rows.push_back({"references_among_themselves",
                    fmt::format("{:.3f}", *figures.references_among_themselves)});
  }
  page.paragraph(fmt::format("{} pictures; in brackets where 95 % of resamples over {} lie.",
                             figures.pictures, figures.resampled));
  page.table({"figure", "mean"}, rows);
  rows.clear();
  for (const auto& one : figures.regions) {
    rows.push_back({one.references, bounds_text(one.identity), bounds_text(one.margin),
                    bounds_text(one.positive)});
  }
  if (!rows.empty()) {
    page.paragraph(
        "Of the share of margins above 0 Wilson's interval, as if pictures were drawn apart.");
    page.table({"region", "identity", "margin", "share above 0"}, rows);
  }
  if (!job.references.empty()) add_pictures(page, "The concept's own", {job.references});
  add_pictures(page, "Painted", job.pictures);
  if (!job.class_pictures.empty()) add_pictures(page, "With the class word", {job.class_pictures});
  return page.text();
}

void keep(const EvaluateJob& job, const Evaluation& figures, const JobContext& context) {
  if (!job.out.empty()) {
    Json json = {{kProgramKey, version()}, {"options", write_options(job)}};
    json.update(to_json(figures));
    write_text_file(job.out, json_text(json, 2) + "\n", {.kind = session::report_kind()});
    tell_result(context, job.out);
  }
  if (!job.page.empty()) {
    write_text_file(job.page, page_of(job, figures), {.kind = eval::page_kind()});
    tell_result(context, job.page);
  }
}

}  // namespace

const eval::Interval& Evaluation::figure(const std::string& name) const {
  for (const auto& [known, interval] : figures) {
    if (known == name) return interval;
  }
  throw std::out_of_range(name);
}

void check(const EvaluateJob& job) {
  if (job.pictures.empty()) {
    throw Error(ErrorKind::kUsage, "mos evaluate needs pictures; see mos evaluate --help");
  }
  if (job.references.empty() && job.prompt.empty() && job.region_references.empty()) {
    throw Error(ErrorKind::kUsage,
                "there is nothing to compare with: give --references, --prompt, or both, or "
                "--region-references");
  }
  check_fields(job);
  const auto& part = job.part;
  if (!part.empty() && (part.size() != 4 || part[0] >= part[2] || part[1] >= part[3])) {
    throw Error(ErrorKind::kUsage,
                "--part is top, left, bottom, right: four numbers, each side before its opposite");
  }
  if (job.region_references.size() == 1) {
    throw Error(ErrorKind::kUsage,
                "--region-references names one folder; what a region is told apart from needs two");
  }
  if (!job.scene.empty() && job.region_references.empty()) {
    throw Error(ErrorKind::kUsage, "--scene names regions, which --region-references measures");
  }
  check_ending("--out", job.out, ".json");
  check_ending("--page", job.page, ".html");
}

Evaluation run(const EvaluateJob& job, const JobContext& context) {
  const log::ScopedSink sink(context.log);
  check(job);
  check_places(job, context);
  auto result = Evaluating(job, context).run();
  keep(job, result, context);
  return result;
}

Json to_json(const Evaluation& evaluation) {
  Json json = {{"pictures", evaluation.pictures}};
  if (evaluation.references > 0) json["references"] = evaluation.references;
  if (evaluation.references_among_themselves) {
    json["references_among_themselves"] = *evaluation.references_among_themselves;
  }
  Json intervals = Json::object();
  for (const auto& [name, interval] : evaluation.figures) {
    json[name] = interval.mean;
    intervals[name] = {interval.low, interval.high};
  }
  if (!intervals.empty()) {
    json["intervals"] = intervals;
    json["resampled"] = evaluation.resampled;
  }
  for (const auto& one : evaluation.regions) {
    json["regions"].push_back({{"references", one.references},
                               {"identity", eval::to_json(one.identity)},
                               {"margin", eval::to_json(one.margin)},
                               {"positive", eval::to_json(one.positive)}});
  }
  return json;
}

}  // namespace mos::jobs
