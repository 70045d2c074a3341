#pragma once

#include <torch/types.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "mos/base/json.h"
#include "mos/base/record.h"
#include "mos/checkpoint/checkpoint.h"
#include "mos/region/sample.h"

/// Where a picture came from, kept inside it: enough to make it again, byte for byte. Nothing in a
/// record depends on when the picture was made or what its file is called.
namespace mos::session {

/// Of the text in the PNG.
inline constexpr const char* kRecordKeyword = kProgramKey;

struct ConceptUse {
  std::string file;    ///< As the caller named it.
  std::string sha256;  ///< Of that file.
  double scale = 1.0;  ///< Factor on its LoRA.
};

struct PictureRecord {
  std::string program;           ///< Version of mos.
  std::string libtorch;          ///< Version.
  std::string base;              ///< Folder of the base model, as the caller named it.
  std::string base_hash;         ///< diffusion::model_hash before any concept.
  checkpoint::ReadOptions read;  ///< How the base model was read.
  std::vector<ConceptUse> concepts;
  region::Scene scene;
  /// Of the batch that this picture was painted in: the seed of its first picture, its count.
  region::SampleOptions options;
  /// Some prompt has weights, BREAK or more than one chunk. The record then says that it is not
  /// plain text; one that says nothing is read as such, since older ones were.
  bool has_syntax = false;
  /// The PNG has A1111's text too, for other programs. Older ones have not.
  bool has_parameters = false;
  /// That text tells of root prompts and of a second pass, where there are any; it did not always.
  bool has_whole_parameters = false;
  std::string device, dtype;
  std::int64_t threads = 1;
  std::uint64_t seed = 0;  ///< Of this picture.
};

std::string record_text(const PictureRecord& record);
/// As record_text, for the file beside the picture and its readers.
std::string sidecar_text(const PictureRecord& record);

/// The record in a picture that `mos sample` has made.
/// Throws kIo, kFormat for files without one, for a grid, and whatever is wrong in a record.
PictureRecord read_record(const std::filesystem::path& picture);

/// NAME.png and beside it NAME.json, both complete before either appears: one that cannot be then,
/// alone, is kept beside its place. `pixels` uint8 [H,W,3]. Throws kIo.
void write_picture(const std::filesystem::path& path, const torch::Tensor& pixels,
                   const PictureRecord& record);

/// Where the record of a picture lies.
std::filesystem::path record_path(std::filesystem::path picture);

/// The bytes of the PNG that write_picture writes.
std::string picture_bytes(const torch::Tensor& pixels, const PictureRecord& record);

/// Pictures in rows of `columns`; the record is that of the first picture, with all seeds.
void write_grid(const std::filesystem::path& path, const std::vector<torch::Tensor>& pictures,
                std::int64_t columns, const PictureRecord& record);

/// SHA-256 of a file. Throws kIo.
std::string file_hash(const std::filesystem::path& path);

}  // namespace mos::session
