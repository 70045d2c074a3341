#pragma once

#include <torch/types.h>

#include <filesystem>
#include <string>
#include <vector>

#include "mos/tune/captions.h"

/// The pictures of one concept, read from a folder and checked before any work starts.
///
///     images/    PNG, JPEG or WebP pictures; or pictures directly in the folder
///     masks/     optional: <name of the picture>.png, white on the subject, of the same size
///     captions/  optional: <name of the picture>.txt, one line; <TOK> or the words stand for it
///     concept.json  optional: {"words": ["<fox1>", "<fox2>"], "class_word": "fox",
///                   "caption": "<TOK>", "templates": "photo", …}
namespace mos::tune {

struct TrainingPicture {
  std::string name;      ///< File name without its ending.
  torch::Tensor pixels;  ///< uint8 [H,W,3].
  torch::Tensor mask;    ///< uint8 [H,W], 255 on the subject; undefined without one.
  Caption caption;       ///< With <TOK> where the concept is.
};

struct ConceptDataset {
  std::filesystem::path folder;
  std::vector<TrainingPicture> pictures;  ///< Sorted by name.

  /// From concept.json, empty when it does not say.
  std::vector<std::string> words;
  std::string class_word;
  std::string templates;

  bool has_masks() const;
};

struct DatasetOptions {
  bool use_masks = true;
  bool use_captions = true;
};

/// Everything in `folder` that tuning would stumble over, one sentence for each problem that starts
/// with the file it is in. Empty: all is well.
std::vector<std::string> check_dataset(const std::filesystem::path& folder,
                                       const DatasetOptions& options = {});

/// Reads the folder. Throws mos::Error: kIo when it is not there, kFormat listing every problem
/// that check_dataset finds.
ConceptDataset load_dataset(const std::filesystem::path& folder,
                            const DatasetOptions& options = {});

}  // namespace mos::tune
