#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "mos/base/counts.h"
#include "mos/base/describe.h"

/// A study: concepts tuned, merged and painted in every way that is compared, on the same prompts
/// and seeds, and measured.
namespace mos::study {

/// Names of the parts, in their order; see parts.h.
std::vector<std::string> part_names();

struct StudyOptions {
  std::string base = "base";
  /// Folders of concepts, or folders of such folders: what is reported on, what settings are chosen
  /// on, and what the choice is checked on. No concept is in two of them.
  std::vector<std::string> concepts, choose, check;
  std::string prompts;  ///< A file; empty: our own.
  /// Cells and results; a study that is there goes on. Empty: out/study, of a quick study, whose
  /// cells are others, out/study-quick.
  std::string out;
  bool anew = false;                 ///< Cells made with other options may be replaced.
  std::vector<std::string> parts;    ///< Empty: all, or those of a quick study.
  bool quick = false;                ///< Three concepts, few prompts, short tuning.
  std::vector<std::string> answers;  ///< Exports of the preference page.

  std::int64_t prompts_each = 0;   ///< For each concept; 0: 20, of a quick study 3.
  std::int64_t pictures = 0;       ///< For each prompt; 0: 8, of a quick study 4.
  std::int64_t tune_seeds = 0;     ///< Tunings of tables 1 and 2; 0: 3, of a quick study 1.
  std::int64_t tune_steps = 0;     ///< 0: what method and base say; of a quick study at most 100.
  std::string method = "ed_lora";  ///< What is merged.
  std::int64_t steps = 0;          ///< Of denoising; 0: 30, of a quick study 16.
  double guidance_scale = 0.0;     ///< 0: as the base says.
  std::optional<double> perturbed_attention;  ///< Of all pictures; empty: as the base says.
  std::string scheduler = "dpm++";
  std::uint64_t seed = 7;   ///< Of the first picture of each prompt, and of the first tuning.
  std::string clip, dino;   ///< Judges; empty: the base's own, and none.
  std::string text_prefix;  ///< Before the prompt, for text alignment: "A photo depicts".
  std::string dtype = "auto";
  std::string device = "cpu";
};

template <class Visitor>
void describe(Visitor& visit, StudyOptions& o) {
  visit("base", o.base, "base model, a diffusers directory with its judge", a_path());
  visit("concepts", o.concepts, "folders of concepts that are reported on, or of such folders",
        a_path());
  visit("choose", o.choose, "those that settings are chosen on", a_path());
  visit("check", o.check, "those that the choice is checked on", a_path());
  visit("prompts", o.prompts, "file of prompts with <TOK>, see docs/study.md (empty: our own)",
        a_path());
  visit("out", o.out,
        "folder of the study; one that is there goes on (empty: out/study, quick out/study-quick)",
        a_path());
  visit("anew", o.anew, "make anew what the folder has of other options");
  visit("parts", o.parts, "which parts (empty: all; of a quick study table1, table2a, regions)",
        one_of(part_names()));
  visit("quick", o.quick, "three concepts, few prompts, short tuning");
  visit("answers", o.answers, "exports of OUT/preference.html: only counts them", a_path());
  visit("prompts_each", o.prompts_each, "prompts for each concept (0: 20, quick 3)",
        between(0, 1000));
  visit("pictures", o.pictures, "pictures for each prompt (0: 8, quick 4)", between(0, 1024));
  visit("tune_seeds", o.tune_seeds,
        "tunings of each concept in tables 1 and 2a and of settings of tuning (0: 3, quick 1)",
        between(0, 100));
  visit("tune_steps", o.tune_steps, "steps of tuning (0: what base and method say, quick 100)",
        count_of(0, kMostSteps));
  visit("method", o.method, "the way of tuning whose merges are compared");
  visit("steps", o.steps, "denoising steps (0: 30, quick 16)", between(0, 1000));
  visit("guidance_scale", o.guidance_scale, "classifier-free guidance (0: as the base says)",
        between(0, 100));
  visit("perturbed_attention", o.perturbed_attention,
        "as of mos sample, for all pictures (not given: as the base says)", between(0, 1));
  visit("scheduler", o.scheduler, "the sampler: dpm++, euler, ddim and others");
  visit("seed", o.seed, "of the first picture of each prompt, and of the first tuning");
  visit("clip", o.clip, "folder of another CLIP to judge with (empty: the base's)", a_path());
  visit("dino", o.dino, "folder of a ViT such as DINO to judge with, too", a_path());
  visit("text_prefix", o.text_prefix, "before each prompt for text alignment: \"A photo depicts\"");
  visit("dtype", o.dtype, "auto, float32, bfloat16 or (on CUDA) float16: of painting");
  visit("device", o.device, "cpu, cuda or cuda:NUMBER");
}

/// The folder of the study.
std::string folder_of(const StudyOptions& options);

/// `options` with numbers in the place of those that say 0.
StudyOptions complete_options(StudyOptions options);

/// Throws kUsage naming the first value that is impossible.
void check(const StudyOptions& options);

}  // namespace mos::study
