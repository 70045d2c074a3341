#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace mos::world {

/// Byte pair merges, in order, after which every one of `words` (lower case a-z) is one symbol.
/// The pair that occurs most often in the words goes first, ties in alphabetical order.
std::vector<std::pair<std::string, std::string>> learn_merges(
    const std::vector<std::string>& words);

/// The words that are one token each: those of all captions, of the prompts one would write about
/// such pictures, and the class words of concepts. Sorted, without duplicates.
std::vector<std::string> vocabulary_words();

/// Writes a tokenizer directory in CLIP's format (vocab.json, merges.txt, special_tokens_map.json,
/// tokenizer_config.json): 256 bytes, 256 bytes at the end of a word, the merges of
/// vocabulary_words(), <|startoftext|> and <|endoftext|>. The same bytes every time. Throws kIo.
/// The longest caption has 30 tokens, and text encoders cost what their positions cost, so texts
/// end after 40 instead of CLIP's 77 unless told.
void write_vocabulary(const std::filesystem::path& directory, std::int64_t model_max_length = 40);

}  // namespace mos::world
