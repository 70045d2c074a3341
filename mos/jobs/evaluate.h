#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "mos/base/describe.h"
#include "mos/jobs/context.h"

/// Measuring pictures by CLIP's eyes, as the paper does (mos/eval).
namespace mos::jobs {

struct EvaluateJob {
  std::vector<std::string> pictures;  ///< Files, or folders of them.
  std::string references;             ///< Folder of the concept's own pictures; empty: none.
  /// top, left, bottom, right of what is looked at, as shares of each picture; empty: all of it.
  std::vector<double> part;
  std::int64_t columns = 1;   ///< Pictures side by side in that part, each looked at by itself.
  std::string prompt;         ///< What the pictures shall show; empty: not asked.
  std::string base = "base";  ///< A base model whose judge/ or clip/ looks at them.
  std::string clip;           ///< Another CLIP with its tokenizer, in transformers' layout.
};

template <class Visitor>
void describe(Visitor& visit, EvaluateJob& job) {
  visit("pictures", job.pictures, "the pictures, files or folders of them", a_path());
  visit("references", job.references, "folder of the concept's own pictures", a_path());
  visit(
      "part", job.part,
      "top, left, bottom, right, 0 to 1: look at this part of each picture alone, such as a region",
      between(0, 1));
  visit("columns", job.columns, "so many pictures stand side by side in it, as in a grid",
        between(1, 64));
  visit("prompt", job.prompt, "what the pictures shall show, in plain words");
  visit("base", job.base, "base model whose judge/ or clip/ looks at them", a_path());
  visit("clip", job.clip, "folder of another CLIP model with its tokenizer (empty: the base's)",
        a_path());
}

/// See mos/eval/clip_score.h for what is measured; empty where the job does not ask for it.
struct Evaluation {
  std::int64_t pictures = 0;
  std::int64_t references = 0;
  std::optional<double> image_alignment;              ///< Over all pairs.
  std::optional<double> first_reference;              ///< Against the first reference alone.
  std::optional<double> references_among_themselves;  ///< What image_alignment can reach.
  std::optional<double> text_alignment;               ///< CLIPScore.
};

void check(const EvaluateJob& job);

/// Throws mos::Error: kIo and kFormat for files.
Evaluation run(const EvaluateJob& job, const JobContext& context = {});

/// Without what is empty.
Json to_json(const Evaluation& evaluation);

}  // namespace mos::jobs
