#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "mos/base/counts.h"
#include "mos/base/factor.h"
#include "mos/base/json.h"
#include "mos/checkpoint/checkpoint.h"
#include "mos/jobs/context.h"
#include "mos/jobs/estimate.h"
#include "mos/region/sample.h"
#include "mos/session/concept_keys.h"
#include "mos/session/picture_record.h"
#include "mos/text/prompt_tags.h"

/// Painting pictures.
namespace mos::jobs {

/// Spatial conditions, a list entry for each adapter.
struct ConditionLists {
  std::vector<std::string> adapter, condition;
  std::vector<double> weight, start, end;  ///< Empty: as in region::Condition.
  std::string boxes;                       ///< The authors' string, of a single adapter.
  bool guess_mode = false;
};

template <class Visitor>
void describe(Visitor& visit, ConditionLists& o) {
  visit("adapter", o.adapter, "T2I-Adapters or ControlNets: diffusers folders or files", a_path());
  visit("condition", o.condition, "the pictures that they read, one for each", a_path());
  visit("adapter_weight", o.weight, "factor on their features, one for each (default: 1)",
        a_factor());
  visit("adapter_boxes", o.boxes,
        "other factors inside boxes, [top, left, bottom, right]-W with | between them; for a "
        "single adapter");
  visit("adapter_start", o.start, "share of the steps before they begin (default: 0)",
        between(0, 1));
  visit("adapter_end", o.end, "share of the steps when they end (default: 1)", between(0, 1));
  visit("guess_mode", o.guess_mode, "ControlNet steers without a prompt");
}

struct SampleJob {
  std::optional<std::string> prompt, negative_prompt;
  std::vector<std::string> concepts;      ///< Files of any dialect, FILE or FILE=SCALE.
  std::string scene;                      ///< A scene file (docs/regions.md).
  std::string from;                       ///< A picture whose options these were; see sample_job().
  std::vector<std::string> region_masks;  ///< Instead of those of its regions.
  std::string fast;                       ///< For LoRA of few steps; see sample_job().
  std::string lora_folder = ".";          ///< Where <lora:name:scale> in prompts finds its file.
  std::optional<std::string> regions;     ///< In the authors' notation.
  std::string out = "sample.png";         ///< A picture, or a folder of several.
  std::string grid;                       ///< All pictures in one as well; empty: none.
  std::string base = "base";
  checkpoint::ReadOptions read;
  double merge_scale = 1.0;  ///< Of concepts without a SCALE of their own.
  region::SampleOptions sample;
  std::int64_t batch = 1;    ///< Pictures painted at a time.
  std::int64_t columns = 0;  ///< Of the grid; 0: about a square.
  std::int64_t preview = 0;  ///< Steps between small pictures beside `out`; 0: none.
  std::string dtype = "auto";
  std::string device = "cpu";
  ConditionLists conditions;
  session::KeyOptions keys;

  // What has no field of its own in files and forms:
  Json scene_json;                        ///< A scene itself, where `scene` is empty.
  std::vector<session::ConceptUse> uses;  ///< Concepts where `concepts` is empty.
  std::vector<text::LoraTag> loras;       ///< More of them, as tags in prompts name theirs.
  region::Canvas canvas_of_from;          ///< What of `sample` is: a `scene` with one goes over it.
};

template <class Visitor>
void describe(Visitor& visit, SampleJob& job) {
  visit("prompt", job.prompt, "what is in the picture, with the words of the concepts in it");
  visit("negative_prompt", job.negative_prompt, "what is not");
  visit("concept", job.concepts,
        "concepts, FILE or FILE=SCALE: of mos tune or mos fuse, LoRA of kohya, PEFT or diffusers, "
        "embeddings",
        a_path());
  visit("scene", job.scene, "prompts, canvas and regions from a file (docs/regions.md)", a_path());
  visit("regions", job.regions,
        "regions as [prompt]-*-[negative]-*-[top, left, bottom, right], with | between them");
  visit("out", job.out,
        "the picture FILE.png, FILE-SEED.png for each of several, or a folder, in which they are "
        "picture-0.png and so on, by their seeds",
        a_path());
  visit("from", job.from,
        "the options of a picture of mos sample, A1111, Forge, InvokeAI or ComfyUI; others go over "
        "them",
        a_path());
  visit("region_mask", job.region_masks,
        "masks for the regions of --from that have one, in their order", a_path());
  visit("fast", job.fast,
        "for LoRA of few steps: auto, lcm, hyper, lightning or tcd sets scheduler, steps and "
        "guidance; others go over it");
  visit("lora_folder", job.lora_folder, "where <lora:name:scale> in prompts finds its file",
        a_path());
  visit("grid", job.grid, "all pictures in one as well, a .png", a_path());
  visit("base", job.base,
        "model: a diffusers directory or a single file; a fused one brings its words", a_path());
  describe(visit, job.read);
  visit("merge_scale", job.merge_scale, "factor on the LoRA of every concept", a_factor());
  describe(visit, job.sample);
  visit("batch", job.batch, "pictures painted at a time", count_of(1, kMostAtATime));
  visit("columns", job.columns, "pictures in a row of the grid; 0: about a square",
        count_of(0, region::kMostSeeds));
  visit("preview", job.preview,
        "steps between small pictures beside --out, gone at the end; 0: none",
        count_of(0, kMostDenoisingSteps));
  visit("dtype", job.dtype, "auto, float32, bfloat16 or (on CUDA) float16");
  visit("device", job.device, "cpu, cuda or cuda:NUMBER");
  describe(visit, job.conditions);
  describe(visit, job.keys);
}

/// The job that `given`, an object, means: over the program's defaults go those that the base model
/// brings (sample_defaults.json, which fused models keep), over these the options of the picture
/// `from`, what `fast` stands for, and what `given` says itself. `origin` is what messages call it.
/// Throws mos::Error: kUsage for a name that means nothing and for a value of another type, and as
/// session::read_from_picture does.
SampleJob sample_job(const Json& given, const std::string& origin);

/// Throws mos::Error(kUsage) naming the first value that is impossible on any model. Reads nothing.
void check(const SampleJob& job);

/// Throws as run() would what shows in the files before a weight of the model is read: words that
/// no concept has, concepts of another model, boxes and canvases that this one cannot have.
void check_files(const SampleJob& job);

/// Paints the first batch with a few steps; writes nothing.
Estimate estimate(const SampleJob& job, const JobContext& context = {});

/// Paints and writes each picture with its record. Returns their paths, the grid's at the end.
/// Throws as session::open_session and session::paint do, kUsage and kIo for places.
std::vector<std::filesystem::path> run(const SampleJob& job, const JobContext& context = {});

/// A picture of SampleJob once more, from its own record.
struct RerunJob {
  std::string picture;
  std::string out;  ///< Empty: over the picture, where the new one is the same.
  /// Where files are that have moved; empty: where they were. A list names all of its kind.
  std::string base;
  std::vector<std::string> concepts, adapters, conditions, region_masks;
  std::string init, mask;
  checkpoint::ReadOptions read;
  session::KeyOptions keys;
};

template <class Visitor>
void describe(Visitor& visit, RerunJob& job) {
  visit("rerun", job.picture, "a picture of mos sample, to be painted once more", a_path());
  visit("out", job.out, "the new picture (empty: over the old one, if it is the same)", a_path());
  visit("base", job.base, "where the model is now", a_path());
  visit("concept", job.concepts, "where the concepts are now", a_path());
  visit("adapter", job.adapters, "where the adapters are now", a_path());
  visit("condition", job.conditions, "where their pictures are now", a_path());
  visit("init", job.init, "where the picture is now that it began with", a_path());
  visit("mask", job.mask, "where its mask is now", a_path());
  visit("region_mask", job.region_masks, "where the masks of regions are now", a_path());
  describe(visit, job.read);
  describe(visit, job.keys);
}

void check(const RerunJob& job);

/// Throws kMismatch when files are others than the record's, or when the picture comes out
/// otherwise and `out` names no place for it. Returns the path of the new picture.
std::filesystem::path run(const RerunJob& job, const JobContext& context = {});

}  // namespace mos::jobs
