#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "mos/concepts/concept_delta.h"
#include "mos/concepts/key_report.h"
#include "mos/io/tensor_file.h"

/// Files of concepts in every dialect: ours, the authors' `.pth`, LoRA of kohya, PEFT and diffusers
/// (see lora_names.h), Textual Inversion and XTI embeddings (see embedding_file.h).
namespace mos::concepts {

/// Metadata of our files: a JSON list of the words in prompt order.
inline constexpr const char* kWordOrder = "words";
/// Of A1111's embeddings: the word.
inline constexpr const char* kEmbeddingName = "name";

/// A file with every key accounted for, whether or not it can be used.
struct ConceptFile {
  std::string origin;                 ///< Its path, for messages.
  std::vector<std::string> dialects;  ///< "kohya LoRA", "A1111 embedding", …
  ConceptDelta delta;                 ///< Tensors alias the file, in the file's dtypes.
  KeyReport keys;
};

/// Sorts the tensors of `file`. PEFT's scale comes from the metadata or from `adapter_config.json`
/// beside the file. Throws mos::Error(kFormat) only for metadata that is damaged.
ConceptFile sort_concept_keys(const io::TensorFile& file);

/// Whether a file is one of concepts at all: something in it matches or is of a foreign network.
bool is_concept_file(const ConceptFile& file);

/// Reads a file and checks its keys.
/// Throws mos::Error: kIo, kFormat (no such file, damaged file, NaN or infinity in a tensor that is
/// used), or kMismatch as check_keys does.
ConceptFile read_concept_file(const std::filesystem::path& path,
                              UnexpectedKeys unexpected = UnexpectedKeys::kRefuse);

/// The concept in it alone.
ConceptDelta load_concept(const std::filesystem::path& path);

}  // namespace mos::concepts
