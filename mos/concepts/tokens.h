#pragma once

#include <torch/types.h>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "mos/base/json.h"
#include "mos/concepts/concept_delta.h"
#include "mos/diffusion/text_tower.h"
#include "mos/text/clip_tokenizer.h"

namespace mos::diffusion {
struct Model;
}

namespace mos::concepts {

/// Stands for the concept in captions and prompts, as in the authors' files.
inline constexpr std::string_view kPlaceholder = "<TOK>";

/// A word known to a tokenizer: its row i (see ConceptWord) is the token with id first_id + i.
struct BoundWord {
  std::string word;
  std::int64_t first_id = 0;
  std::int64_t rows = 1;  ///< L·n, or n when all layers share their rows.
  /// "<new0>" …, one for each row: only what files of a model call them, for other programs. Here
  /// tokens of words are numbers that no text can name.
  std::vector<std::string> token_names;
  std::int64_t vectors = 1;  ///< n, tokens in a prompt.
  std::string alias = {};    ///< See ConceptWord.

  std::int64_t layers() const { return rows / vectors; }
  /// What stands for the word in the prompt of layer l: its n tokens.
  text::PiecedText tokens_of_layer(std::int64_t l) const;
};

/// The concept words that the text towers of a model know, and how prompts with them become
/// layer-wise prompts (P+). A value: threads may bind prompts with one object as long as nobody
/// adds words. add() changes the towers that it is given, so nobody may encode with those
/// meanwhile.
class ConceptTokens {
 public:
  /// For a U-Net that reads `layers` = L texts of a layer-wise prompt (nn::TextSlices::count).
  explicit ConceptTokens(std::int64_t layers) : layers_(layers) {}

  /// The words that a fused model folder lists in `new_concept_cfg.json`.
  static ConceptTokens from_json(const Json& config, std::int64_t layers);
  Json to_json() const;

  /// Takes the tokens of all words out of what texts can name: a tokenizer that was read from files
  /// knows them as `<newK>`, which may be a user's word.
  void withdraw_from(text::CLIPTokenizer& tokenizer) const;

  /// Adds tokens to the tokenizers and rows to the encoders of all towers of the model, behind
  /// those that are there. Throws kMismatch if the rows do not fit the model, kUsage if a word is
  /// known already.
  void add(std::span<const ConceptWord> words, std::span<diffusion::TextTower> towers);

  /// Whether `word` is one of the words or an alias that means only one thing.
  bool knows(std::string_view word) const;

  /// The L prompts of a layer-wise text: in prompt l each word is its tokens of layer l. One prompt
  /// if no word with rows of its own for each layer occurs.
  std::vector<text::PiecedText> bind(std::string_view prompt) const;

  const std::vector<BoundWord>& words() const { return words_; }
  std::int64_t layers() const { return layers_; }

  /// Whether `id` is a token of a concept word.
  bool is_concept_token(std::int64_t id) const;

 private:
  /// Throws as add() does.
  void check_new(const ConceptWord& word) const;
  void check_fits(const ConceptWord& word, const diffusion::TextTower& tower) const;
  /// What a prompt may call a word.
  struct Spelling {
    std::string_view text;
    const BoundWord* word;
  };
  /// Of all words, the longest first.
  std::vector<Spelling> spellings() const;

  std::int64_t layers_;
  std::vector<BoundWord> words_;
};

/// The words that a model knows, which none but fused ones do. Its tokenizer gives up the names of
/// their tokens.
ConceptTokens known_words(diffusion::Model& model);

/// The conditioner: what the U-Net reads for `prompts`, layer-wise when any of them has a concept
/// word (the others are repeated over l). Every distinct text runs through each encoder once.
nn::Conditioning encode_prompts(const ConceptTokens& tokens,
                                std::span<const diffusion::TextTower> towers,
                                std::span<const std::string> prompts);

}  // namespace mos::concepts
