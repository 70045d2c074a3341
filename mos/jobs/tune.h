#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "mos/base/json.h"
#include "mos/checkpoint/checkpoint.h"
#include "mos/concepts/concept_delta.h"
#include "mos/jobs/context.h"
#include "mos/jobs/estimate.h"
#include "mos/tune/dataset.h"
#include "mos/tune/options.h"

/// Learning a concept from a folder of pictures.
namespace mos::jobs {

struct TuneJob {
  std::string data;           ///< The pictures; docs/pictures.md has the layouts.
  std::string out;            ///< The concept file, .safetensors; its checkpoint lies beside it.
  std::string base = "base";  ///< A diffusers directory or a single file.
  std::string previews;       ///< Folder of sample pictures; empty: OUT-previews.
  std::string prior_folder;   ///< Class pictures of all base models; empty: DATA-prior.
  bool fresh = false;         ///< Start anew where there is a checkpoint.
  std::string device = "cpu";
  checkpoint::ReadOptions read;
  tune::TuneOptions options;
};

template <class Visitor>
void describe(Visitor& visit, TuneJob& job) {
  visit("data", job.data, "folder of the pictures", a_path());
  visit("out", job.out, "the concept file to write, .safetensors", a_path());
  visit("base", job.base, "the base model: a diffusers directory or a single file", a_path());
  visit("previews", job.previews, "where sample pictures go (empty: beside the file)", a_path());
  visit("prior_folder", job.prior_folder, "where class pictures are kept (empty: beside the data)",
        a_path());
  visit("fresh", job.fresh, "do not take up a checkpoint");
  visit("device", job.device, "cpu, cuda or cuda:NUMBER");
  describe(visit, job.read);
  describe(visit, job.options);
}

/// The job that `given`, an object, means: over the program's defaults go those of its base model
/// and of its method, and over these what it says itself (tune::method_options). `origin` is what
/// messages call it. Throws mos::Error: kUsage for a name that means nothing, kFormat for a value
/// of another type.
TuneJob tune_job(const Json& given, const std::string& origin);

/// Throws mos::Error(kUsage) naming the first value that is impossible. Reads nothing.
void check(const TuneJob& job);

/// What is wrong with the pictures and captions; warns in the log. Only `data` is needed, but with
/// `out` or a base model it is the whole job, and this throws what it would throw before it trains.
struct DataCheck {
  std::vector<std::string> problems;  ///< Sentences that begin with the file; empty: none.
  std::string summary;                ///< "8 pictures, 8 with a mask".
};
DataCheck check_data(const TuneJob& job, const JobContext& context = {});

/// Takes a few steps; writes nothing. Class pictures that are not there are not counted.
Estimate estimate(const TuneJob& job, const JobContext& context = {});

/// Tunes and writes the concept; the checkpoint goes when that is on disk. Results do not depend on
/// whether a run was interrupted. Throws as tune::tune_concept does, kIo where a result cannot be
/// written (the run is then kept in the checkpoint), kCancelled.
concepts::ConceptDelta run(const TuneJob& job, const JobContext& context = {});

}  // namespace mos::jobs
