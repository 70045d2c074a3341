#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "mos/concepts/concept_delta.h"
#include "mos/concepts/key_report.h"
#include "mos/io/tensor_file.h"

/// Files of concepts in every dialect: ours, the authors' `.pth`, LoRA and LyCORIS of everybody
/// (see lora_names.h, numbered_file.h), Textual Inversion and XTI embeddings (see
/// embedding_file.h).
namespace mos::concepts {

/// Metadata of our files: a JSON list of the words in prompt order.
inline constexpr const char* kWordOrder = "words";
/// Of A1111's embeddings: what their author called them (see EmbeddingCollector).
inline constexpr const char* kEmbeddingName = "name";

/// A file with every key accounted for, whether or not it can be used.
struct ConceptFile {
  std::string origin;                 ///< Its path, for messages.
  std::vector<std::string> dialects;  ///< "kohya LoRA", "A1111 embedding", …
  ConceptDelta delta;                 ///< Tensors alias the file, in the file's dtypes.
  KeyReport keys;
  std::vector<std::string> doubts = {};  ///< What had to be assumed: sentences for people.
  /// Files beside it that belong to it and were read with it (see companions_of).
  std::vector<std::filesystem::path> companions = {};
};

/// Sorts the tensors of `file`. PEFT's scale comes from the metadata or from `adapter_config.json`
/// beside the file. Throws mos::Error(kFormat) only for metadata that is damaged.
ConceptFile sort_concept_keys(const io::TensorFile& file);

/// Whether a file is one of concepts at all: something in it matches or is of a foreign network.
bool is_concept_file(const ConceptFile& file);

/// Reads a file and those that belong to it, and checks their keys.
/// Throws mos::Error: kIo, kFormat (no such file, damaged file, NaN or infinity in a tensor that is
/// used), kMismatch as check_keys does and for models, which are named for what they are.
ConceptFile read_concept_file(const std::filesystem::path& path,
                              UnexpectedKeys unexpected = UnexpectedKeys::kRefuse);

/// The concept in it alone.
ConceptDelta load_concept(const std::filesystem::path& path);

}  // namespace mos::concepts
