#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "mos/base/counts.h"
#include "mos/base/factor.h"
#include "mos/base/json.h"
#include "mos/checkpoint/checkpoint.h"
#include "mos/fuse/fuse_concepts.h"
#include "mos/jobs/context.h"
#include "mos/jobs/estimate.h"
#include "mos/session/concept_keys.h"

/// Putting several concepts into one model.
namespace mos::jobs {

struct FuseJob {
  /// Concept files of any dialect, FILE or FILE=WORDS; WORDS is how a concept stands in a prompt.
  std::vector<std::string> concepts;
  std::string concept_list;   ///< The authors' JSON list instead of them.
  std::string base = "base";  ///< A diffusers directory or a single file.
  std::string out;            ///< The fused model: a folder, or one file (.safetensors).
  std::string lora;           ///< The same as a plain LoRA with the words. One of both is needed.
  std::string lora_format;    ///< Empty: by its ending.
  std::int64_t lora_rank = 64;
  std::string report;  ///< Empty: DIR/fusion_report.json, or STEM.fusion_report.json beside a file.
  std::vector<double> text_scales, unet_scales;
  std::vector<std::string> rename;
  bool overwrite = false;
  std::string device = "cpu";
  session::KeyOptions keys;
  checkpoint::ReadOptions read;
  fuse::FuseOptions options;
};

template <class Visitor>
void describe(Visitor& visit, FuseJob& job) {
  visit("concepts", job.concepts, "concept files, each FILE or FILE=WORDS", a_path());
  visit("base", job.base, "base model: a diffusers directory or a single file", a_path());
  visit("out", job.out, "write the fused model: a directory, or one file (.safetensors)", a_path());
  visit("lora", job.lora, "write the same as a plain LoRA with the concept words", a_path());
  visit("lora_format", job.lora_format,
        "its format: mos, kohya, peft, diffusers or official (empty: by its ending)");
  visit("lora_rank", job.lora_rank, "rank for each concept where some are no plain LoRA",
        count_of(1, kHighestRank));
  visit("report", job.report,
        "where the report goes (empty: fusion_report.json in the folder of --out, "
        "NAME.fusion_report.json beside a file)",
        a_path());
  visit("concept_list", job.concept_list,
        "concepts from the authors' JSON list instead of file names", a_path());
  visit("text_scales", job.text_scales, "factor on each concept's text-encoder LoRA, one for each",
        a_factor());
  visit("unet_scales", job.unet_scales, "factor on each concept's U-Net LoRA, one for each",
        a_factor());
  visit("rename", job.rename,
        "new names for words that clash, with commas between them: <old>=<new>, or of the second "
        "concept 2:<old>=<new>");
  visit("overwrite", job.overwrite, "replace --out if it exists");
  visit("device", job.device, "cpu, cuda or cuda:NUMBER");
  describe(visit, job.keys);
  describe(visit, job.read);
  describe(visit, job.options);
}

/// The name of the method that `given`, an object, asks for, or the usual one. Throws
/// mos::Error(kUsage) for what is no text, or a method that there is not.
std::string method_of(const Json& given, const std::string& origin);

/// The job that `given`, an object, means, with the options of the method that it names. `origin`
/// is what messages call it. Throws mos::Error(kUsage) for a name that means nothing or is an
/// option of other methods, and for a value of another type.
FuseJob fuse_job(const Json& given, const std::string& origin);

/// Throws mos::Error(kUsage) where `option` is one that other methods take; `shown` is what
/// messages call it.
void refuse_option_of_others(const std::string& option, const std::string& shown,
                             const std::string& method);

/// Throws mos::Error(kUsage) naming the first value that is impossible. Reads nothing.
void check(const FuseJob& job);

struct FuseOutcome {
  fuse::FusionReport report;
  std::vector<std::filesystem::path> written;  ///< In the order in which they were.
};

/// Fuses one concept that has the layers of all, with two denoising steps; writes nothing.
Estimate estimate(const FuseJob& job, const JobContext& context = {});

/// Fuses, and writes each result whatever becomes of the others; throws what the first failure was.
/// Throws as fuse::fuse_concepts does, kUsage and kIo for places, kMismatch for a format that
/// cannot hold the result.
FuseOutcome run(const FuseJob& job, const JobContext& context = {});

}  // namespace mos::jobs
