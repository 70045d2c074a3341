#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "mos/base/file.h"
#include "mos/base/json.h"
#include "mos/base/progress.h"
#include "mos/checkpoint/part.h"
#include "mos/io/state_dict.h"
#include "mos/text/clip_tokenizer.h"

/// Stable Diffusion models as they are stored: settings and named tensors, no networks yet.
namespace mos::checkpoint {

/// One network: its config.json and its tensors under the names of diffusers or transformers.
struct StoredNetwork {
  Json config;
  io::StateDict tensors;
};

/// A model as it lies on disk. The tensors alias the mapped files: reading a model costs nothing
/// before its tensors are used, and each gives its pages back when it goes.
struct Checkpoint {
  std::filesystem::path origin;
  text::CLIPTokenizer tokenizer;
  std::map<Part, StoredNetwork> networks;  ///< All that its family has.
  Json scheduler_config;
  Json model_index;
  /// new_concept_cfg.json, the concept words of a model with fused concepts; null without.
  Json concepts;

  /// JSON files as they were read, by path inside the directory: what is written is these bytes
  /// where the value is still the same.
  std::map<std::string, std::string> source_texts;
  /// Folders of parts that we have no use for (safety checker, feature extractor).
  std::map<std::string, std::filesystem::path> other_parts;
  /// Keys of a single file that belong to no part of a model.
  std::vector<std::string> strange_keys;
};

/// How a model is read; every command that has a base model has these options.
struct ReadOptions {
  /// Of a directory: "fp16" reads `….fp16.safetensors` where there are such files. Empty: the plain
  /// files, or those of fp16 where there are no others.
  std::string variant;
  /// Of a single file: the averaged weights of its U-Net, `model_ema.…`, instead of the trained
  /// ones.
  bool ema = false;
  /// "epsilon" or "v_prediction" instead of what the model says. Empty: as it says.
  std::string prediction_type;
  /// Of a single file: configuration of the original code (.yaml). Empty: FILE.yaml beside FILE if
  /// there is one.
  std::string original_config;

  bool operator==(const ReadOptions&) const = default;
};

template <class Visitor>
void describe(Visitor& visit, ReadOptions& options) {
  visit("variant", options.variant,
        "of a directory: read ….NAME.safetensors, e.g. fp16; empty: the plain files");
  visit("ema", options.ema, "of a single file: the averaged weights (model_ema.…)");
  visit("prediction_type", options.prediction_type,
        "epsilon or v_prediction; empty: as the model says, else a stated guess");
  visit("original_config", options.original_config,
        "of a single file: its .yaml; empty: the one beside it, if any");
}

/// Reads a diffusers directory or a single file. Throws mos::Error naming the file: kIo for a
/// missing part or shard, kFormat for damaged files, kMismatch for models of another family,
/// kUsage for options that such a model does not have.
Checkpoint read_checkpoint(const std::filesystem::path& path, const ReadOptions& options = {});

/// The two kinds of it.
Checkpoint read_folder(const std::filesystem::path& directory, const ReadOptions& options);
Checkpoint read_single_file(const std::filesystem::path& file, const ReadOptions& options);

/// How weights are written.
struct WriteOptions {
  std::optional<torch::ScalarType> dtype;  ///< Of every tensor; empty: each as it is.
  /// Gives a tensor its values in the moment when it is written, from its key with the folder in
  /// front (`unet/conv_in.weight`) and from what is stored, which may be a mere shape
  /// (nn/parameter.h): a model larger than memory can be written. Empty: what is stored.
  std::function<torch::Tensor(const std::string& key, const torch::Tensor& stored)> values;
  /// Of a directory: texts that are written beside its parts, by file name.
  std::map<std::string, std::string> notes;
  const CancelToken* cancel = nullptr;  ///< Asked before each tensor.
};

/// Whether `path` names a single file: it ends in .safetensors.
bool is_single_file(const std::filesystem::path& path);

/// Throws mos::Error(kUsage) unless `folder` is a model and holds nothing else, beside what our
/// commands put there and the entries that `more` names: only such a folder is ever replaced.
void check_model_folder(const std::filesystem::path& folder,
                        const std::set<std::string>& more = {});

/// Whether a file of this name is one of the files that a model's folder is known by.
bool is_part_of_model(const std::filesystem::path& file);

/// Writes the files of a diffusers directory into `directory`, the same bytes for the same model.
/// Throws mos::Error: kIo, kCancelled.
void write_folder(Checkpoint checkpoint, const std::filesystem::path& directory,
                  const WriteOptions& options = {});

/// Writes one .safetensors with the names of the original code. What a directory has beside its
/// weights goes into the metadata, so that reading the file gives the same model back.
/// Throws mos::Error: kIo, also for a file that is to be refused, then with the model beside it;
/// kCancelled.
void write_single_file(Checkpoint checkpoint, const std::filesystem::path& file,
                       const WriteOptions& options = {}, Existing existing = Existing::kReplace);

}  // namespace mos::checkpoint
