#pragma once

#include <filesystem>
#include <string>

#include "mos/base/describe.h"
#include "mos/checkpoint/checkpoint.h"
#include "mos/jobs/context.h"

/// Writing a base model in another layout.
namespace mos::jobs {

struct ConvertModelJob {
  std::string in;
  std::string out;    ///< A diffusers directory, or one file (.safetensors) with original names.
  std::string dtype;  ///< Of the weights; empty: as they are.
  bool overwrite = false;
  checkpoint::ReadOptions read;
};

template <class Visitor>
void describe(Visitor& visit, ConvertModelJob& job) {
  visit("in", job.in, "the model: a diffusers directory or a single file", a_path());
  visit("out", job.out, "the folder or file to write", a_path());
  visit("dtype", job.dtype, "of the weights: float32, bfloat16 or float16 (empty: as they are)");
  visit("overwrite", job.overwrite, "replace --out if it exists");
  describe(visit, job.read);
}

/// Whether `path` is for a ConvertModelJob: a folder, or a file with the keys of a model. Throws
/// kIo and kFormat for what is no file of tensors.
bool is_model(const std::filesystem::path& path);

/// Throws mos::Error(kUsage) naming the first value that is impossible. Reads nothing.
void check(const ConvertModelJob& job);

/// Goes through the weights one by one, in the memory of the largest. Throws kIo, kFormat,
/// kMismatch for what is no model that we build, kUsage and kIo for places.
void run(const ConvertModelJob& job, const JobContext& context = {});

}  // namespace mos::jobs
