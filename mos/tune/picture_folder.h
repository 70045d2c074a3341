#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "mos/tune/options.h"

/// Which files of a folder are the pictures of a concept, and which masks and captions belong to
/// them. Nothing is opened; docs/pictures.md has the layouts.
namespace mos::tune {

struct DatasetOptions {
  bool use_masks = true;
  bool use_captions = true;
  /// What becomes of a caption of several lines (see CaptionOptions).
  CaptionLines caption_lines = CaptionLines::kFirst;
  /// How the caller calls the concept; empty: as concept.json does.
  std::vector<std::string> words;
};

struct PictureFiles {
  std::string name;               ///< "00", or "10_sks bear/00" in a folder of its own.
  std::filesystem::path picture;  ///< PNG, JPEG or WebP, by its ending.
  std::filesystem::path mask;     ///< Empty without one.
  std::filesystem::path caption;  ///< The same.
  std::int64_t repeats = 1;       ///< Of the folder it lies in.
};

/// Sentences begin with the file they are about, relative to the folder.
struct PictureFolder {
  std::vector<PictureFiles> pictures;  ///< Sorted by name.
  /// What kohya's folder names say of the concept: "sks bear" for `10_sks bear`. Empty when there
  /// are none or they say different things.
  std::string phrase;
  std::vector<std::string> problems;  ///< What tuning would stumble over.
  std::vector<std::string> warnings;  ///< What is not read.
};

/// Looks through `folder`. Throws mos::Error(kIo) when it is not there or cannot be read.
PictureFolder find_pictures(const std::filesystem::path& folder,
                            const DatasetOptions& options = {});

/// Why what the folder has at `path` cannot be read as a file; empty where it can.
std::string file_fault(const std::filesystem::path& path);

/// `path` as seen from `folder`, for messages.
std::string name_within(const std::filesystem::path& folder, const std::filesystem::path& path);

}  // namespace mos::tune
