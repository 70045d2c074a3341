#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "mos/base/describe.h"
#include "mos/eval/statistics.h"
#include "mos/jobs/context.h"

/// Measuring pictures by CLIP's eyes, as the paper does (mos/eval).
namespace mos::jobs {

struct EvaluateJob {
  std::vector<std::string> pictures;  ///< Files, or folders of them.
  std::string references;             ///< Folder of the concept's own pictures; empty: none.
  std::string class_pictures;         ///< Painted with the class word instead; empty: none.
  /// Folders of several concepts' own pictures, one for each region; empty: none.
  std::vector<std::string> region_references;
  std::string scene;  ///< Whose regions these are; empty: the scene in each picture's record.
  /// top, left, bottom, right of what is looked at, as shares of each picture; empty: all of it.
  std::vector<double> part;
  std::int64_t columns = 1;   ///< Pictures side by side in that part, each looked at by itself.
  std::string prompt;         ///< What the pictures shall show; empty: not asked.
  std::string base = "base";  ///< A base model whose judge/ looks at them.
  std::string clip;           ///< Another CLIP with its tokenizer, in transformers' layout.
  std::string dino;           ///< A vision transformer in transformers' layout; empty: none.
  std::string out;            ///< The figures as JSON; empty: not kept.
  std::string page;           ///< The pictures side by side, .html; empty: none.
  std::uint64_t seed = 0;     ///< Of the draws of the intervals.
};

template <class Visitor>
void describe(Visitor& visit, EvaluateJob& job) {
  visit("pictures", job.pictures, "the pictures, files or folders of them", a_path());
  visit("references", job.references, "folder of the concept's own pictures", a_path());
  visit("class_pictures", job.class_pictures,
        "pictures of the same prompts with the class word in the concept's place: the bounds",
        a_path());
  visit("region_references", job.region_references,
        "for pictures of several: folders of each concept's own, one for each region", a_path());
  visit("scene", job.scene, "file of these regions (empty: the scene in each picture's record)",
        a_path());
  visit(
      "part", job.part,
      "top, left, bottom, right, 0 to 1: look at this part of each picture alone, such as a region",
      between(0, 1));
  visit("columns", job.columns, "so many pictures stand side by side in it, as in a grid",
        between(1, 64));
  visit("prompt", job.prompt, "what the pictures shall show, in plain words");
  visit("base", job.base, "base model whose judge/ looks at them", a_path());
  visit("clip", job.clip, "folder of another CLIP model with its tokenizer (empty: the base's)",
        a_path());
  visit("dino", job.dino, "folder of a ViT such as DINO, for the similarity of its class tokens",
        a_path());
  visit("out", job.out, "keep the figures, a .json", a_path());
  visit("page", job.page, "the pictures side by side, a .html with everything in it", a_path());
  visit("seed", job.seed, "of the draws of the intervals");
}

/// What the pictures of one region show.
struct RegionFigures {
  std::string references;   ///< Folder of its concept's own pictures.
  eval::Interval identity;  ///< Image alignment of the region's crops with these.
  eval::Interval margin;    ///< That minus the best with another concept, crop by crop.
  eval::Interval positive;  ///< Share of the crops whose margin is above 0.
};

/// See mos/eval/clip_score.h for what is measured. What the job does not ask for is not in it.
struct Evaluation {
  std::int64_t pictures = 0;
  std::int64_t references = 0;
  std::optional<double> references_among_themselves;  ///< What image_alignment can reach.
  /// By name, in this order: image_alignment (all pairs), first_reference, text_alignment, dino,
  /// and with class_ before it those of the class pictures.
  std::vector<std::pair<std::string, eval::Interval>> figures;
  /// What the intervals are over: "prompts and seeds" where the pictures' records tell them,
  /// "pictures" elsewhere.
  std::string resampled;
  std::vector<RegionFigures> regions;

  /// Throws std::out_of_range for a figure that was not measured.
  const eval::Interval& figure(const std::string& name) const;
};

void check(const EvaluateJob& job);

/// Throws mos::Error: kIo and kFormat for files, kUsage for places, kMismatch for a picture whose
/// regions are others than the references.
Evaluation run(const EvaluateJob& job, const JobContext& context = {});

/// Figures by name, their bounds in "intervals".
Json to_json(const Evaluation& evaluation);

}  // namespace mos::jobs
