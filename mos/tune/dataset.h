#pragma once

#include <torch/types.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "mos/tune/captions.h"
#include "mos/tune/picture_folder.h"

/// The pictures of one concept, read from a folder and checked before any work starts. The layouts
/// of kohya and OneTrainer are read too (docs/pictures.md); ours is
///
///     images/    PNG, JPEG or WebP pictures; or pictures directly in the folder
///     masks/     optional: <name of the picture>.png, white on the subject, of the same size
///     captions/  optional: <name of the picture>.txt, one line; <TOK> or the words stand for it
///     concept.json  optional: {"words": ["<fox1>", "<fox2>"], "class_word": "fox",
///                   "caption": "<TOK>", "templates": "photo"}
namespace mos::tune {

struct TrainingPicture {
  std::string name;      ///< File name without its ending, with the folder where kohya's are.
  torch::Tensor pixels;  ///< uint8 [H,W,3].
  torch::Tensor mask;    ///< uint8 [H,W], 255 on the subject; undefined without one.
  Caption caption;       ///< With <TOK> where the concept is.
  /// How often it comes in one round of all pictures; 1 where all come equally often.
  std::int64_t repeats = 1;
};

struct ConceptDataset {
  std::filesystem::path folder;
  std::vector<TrainingPicture> pictures;  ///< Sorted by name.

  /// Of the class, painted by the base model (prior.h): no pictures of the concept, and not read
  /// from its folder.
  std::vector<TrainingPicture> prior;

  /// From concept.json, empty when it does not say.
  std::vector<std::string> words;
  std::string class_word;
  std::optional<Templates> templates;
  /// What stands for the concept in kohya's captions, "sks bear" of `10_sks bear`; else empty.
  std::string phrase;

  /// What was found but is not read, one sentence each.
  std::vector<std::string> warnings;

  /// "12 pictures, 3 with masks, 12 with captions" and what else is good to know.
  std::string summary() const;
};

/// A folder as far as it can be read.
struct DatasetCheck {
  ConceptDataset dataset;
  /// What tuning would stumble over, each sentence starts with the file it is about. Empty: all is
  /// well.
  std::vector<std::string> problems;
};

/// Throws mos::Error(kIo) when the folder is not there.
DatasetCheck check_dataset(const std::filesystem::path& folder, const DatasetOptions& options = {});

/// Reads the folder. Throws mos::Error: kIo when it is not there, kFormat listing every problem
/// that check_dataset finds.
ConceptDataset load_dataset(const std::filesystem::path& folder,
                            const DatasetOptions& options = {});

/// What the options of tuning say about reading.
DatasetOptions dataset_options(const TuneOptions& options);

}  // namespace mos::tune
