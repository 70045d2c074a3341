#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "mos/fuse/fuse_concepts.h"

namespace mos::fuse {

/// Reads concept files of any dialect; each is named after its file. FILE=WORDS says how a concept
/// stands in a prompt: the trigger words of a LoRA that has no words of its own, or a choice and an
/// order of those it has. Unexpected keys as in read_concept_file().
std::vector<ConceptSource> load_sources(
    std::span<const std::string> files,
    concepts::UnexpectedKeys unexpected = concepts::UnexpectedKeys::kRefuse);

/// Reads the authors' list: a JSON array of {lora_path, concept_name, and the alpha of each
/// network}. Paths are relative to the working directory or, if not there, to the list. Throws
/// mos::Error(kFormat) for another structure, kMismatch if concept_name holds a <word> that the
/// file lacks.
std::vector<ConceptSource> load_source_list(
    const std::filesystem::path& list,
    concepts::UnexpectedKeys unexpected = concepts::UnexpectedKeys::kRefuse);

/// "<dog1>=<dog3>", or "2:<dog1>=<dog3>" for the second concept only.
struct Rename {
  std::size_t concept_number = 0;  ///< From 1 on; 0: the last concept that has the word.
  std::string from;
  std::string to;
};
/// Throws mos::Error(kUsage) if `text` is no rename.
Rename parse_rename(const std::string& text);

/// Gives words new names. Throws mos::Error(kUsage) for a word that no concept has.
void rename_words(std::vector<ConceptSource>& sources, std::span<const Rename> renames);

/// Throws mos::Error(kUsage) if two concepts use one word, if one uses a word of `taken` (those the
/// base model knows already), or if a concept has no words and no phrase to show it by.
void check_words(const std::vector<ConceptSource>& sources, std::span<const std::string> taken);

/// A sentence for each two concepts of which one answers whenever the other is called, because all
/// words of its phrase are in the other's. Empty: every prompt tells them apart.
std::vector<std::string> shared_triggers(const std::vector<ConceptSource>& sources);

}  // namespace mos::fuse
