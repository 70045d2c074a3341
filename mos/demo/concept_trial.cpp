#include "mos/demo/concept_trial.h"

#include <fmt/core.h>

#include <algorithm>
#include <filesystem>

#include "mos/base/error.h"
#include "mos/base/json.h"
#include "mos/demo/painter.h"
#include "mos/demo/tuning.h"
#include "mos/eval/clip_score.h"
#include "mos/io/image.h"
#include "mos/nn/compute.h"

namespace mos::demo {

namespace fs = std::filesystem;
using torch::Tensor;

namespace {

class Trial {
 public:
  Trial(const TrialOptions& options, const ProgressCallback& progress, const CancelToken* cancel)
      : options_(options),
        progress_(progress),
        cancel_(cancel),
        scorer_(eval::ClipScorer::load_judge(options.base)) {
    std::vector<std::string> prompts;
    for (const auto& background : options.backgrounds) prompts.push_back("a photo " + background);
    for (const auto& place : options.places) numbers_.push_back(number_of(place));
    if (!prompts.empty()) backgrounds_ = scorer_.text_embeds(prompts);
  }

  TrialFigures operator()(const fs::path& folder) {
    TrialFigures figures{.name = folder.filename().string()};
    const auto dataset = tune::load_dataset(folder);
    const auto [delta, class_word, seconds] = tune({.base = options_.base,
                                                    .name = figures.name,
                                                    .out = options_.out,
                                                    .steps = options_.tune_steps,
                                                    .seed = options_.seed},
                                                   dataset, progress_, cancel_);
    figures.tuning_seconds = seconds;
    std::vector<Tensor> own;
    for (const auto& picture : dataset.pictures) own.push_back(picture.pixels);
    const auto references = scorer_.image_embeds(torch::stack(own));
    figures.among_themselves = eval::leave_one_out_alignment(references);

    auto painter = open_painter(options_.base, nn::dtype_named("auto"), &delta);
    const auto category = read_json_file(folder / "concept.json").value("category", "object");
    // A scene is a place itself: nothing is put on the beach that is one.
    figures.placed = category != "scene";
    const auto photo = (figures.placed ? "a photo of a " : "a photo of ") + delta.phrase();
    const auto alone = scorer_.image_embeds(pictures(painter, photo, figures.name));
    figures.alone = eval::image_alignment(alone, references).all_pairs / figures.among_themselves;
    if (figures.placed) place(painter, photo, references, figures);
    return figures;
  }

 private:
  std::int64_t number_of(const std::string& place) const {
    const auto& all = options_.backgrounds;
    const auto found = std::find(all.begin(), all.end(), place);
    if (found == all.end()) {
      throw Error(ErrorKind::kUsage,
                  fmt::format("concepts were to be painted \"{}\", which is none of the {} "
                              "backgrounds that the judge shall tell apart",
                              place, all.size()));
    }
    return found - all.begin();
  }

  Tensor pictures(session::Session& painter, const std::string& prompt, const std::string& name) {
    region::SampleOptions sample;
    sample.steps = options_.steps;
    sample.guidance_scale = options_.guidance_scale;
    sample.sampler.perturbed_attention = options_.perturbed_attention;
    sample.seed = options_.seed;
    sample.count = options_.pictures;
    const auto painted = paint(painter, prompt, sample, cancel_);
    io::write_png(fs::path(options_.out) / (name + ".png"),
                  io::make_grid(painted.unbind(0), painted.size(0), 4));
    return painted;
  }

  void place(session::Session& painter, const std::string& photo, const Tensor& references,
             TrialFigures& figures) {
    double alignment = 0.0, told = 0.0;
    for (std::size_t i = 0; i < options_.places.size(); ++i) {
      const auto name = fmt::format("{}-place-{}", figures.name, i + 1);
      const auto embeds =
          scorer_.image_embeds(pictures(painter, photo + " " + options_.places[i], name));
      alignment += eval::image_alignment(embeds, references).all_pairs;
      // Of all backgrounds that the base knows, so a chance of one in fifty, not in two.
      const auto seen = embeds.mm(backgrounds_.t()).argmax(1);
      told += seen.eq(numbers_[i]).to(torch::kFloat64).mean().item<double>();
    }
    const auto places = static_cast<double>(std::max<std::size_t>(1, options_.places.size()));
    figures.in_places = alignment / places / figures.among_themselves;
    figures.places_told = told / places;
  }

  const TrialOptions& options_;
  const ProgressCallback& progress_;
  const CancelToken* cancel_;
  eval::ClipScorer scorer_;
  std::vector<std::int64_t> numbers_;  ///< Of the places among the backgrounds.
  Tensor backgrounds_;                 ///< [N,D]
};

}  // namespace

std::vector<TrialFigures> try_concepts(const TrialOptions& options,
                                       const ProgressCallback& progress,
                                       const CancelToken* cancel) {
  Trial trial(options, progress, cancel);
  std::vector<fs::path> folders;
  for (const auto& entry : fs::directory_iterator(options.concepts)) {
    if (entry.is_directory()) folders.push_back(entry.path());
  }
  // The system lists them in an order of its own.
  std::sort(folders.begin(), folders.end());
  fs::create_directories(options.out);
  std::vector<TrialFigures> figures;
  for (const auto& folder : folders) figures.push_back(trial(folder));
  return figures;
}

}  // namespace mos::demo
