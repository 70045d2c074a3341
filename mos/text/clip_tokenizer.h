#pragma once

#include <compare>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace mos::text {

class BytePairs;

/// A piece of a text: words, or one token by its number, whatever that is called.
struct TextPiece {
  std::string words;
  std::optional<std::int64_t> token = {};

  auto operator<=>(const TextPiece&) const = default;
};
/// A text with tokens in it that no spelling can name.
using PiecedText = std::vector<TextPiece>;

/// CLIP's byte-level BPE tokenizer with added tokens: the ids of `CLIPTokenizer` (transformers
/// 4.31 and later, without ftfy). Every id comes from the files, none from the code. A value:
/// copies share the vocabulary, added tokens are each copy's own.
class CLIPTokenizer {
 public:
  /// Contents of files by name.
  using Texts = std::map<std::string, std::string, std::less<>>;

  /// Reads vocab.json and merges.txt, or tokenizer.json where these are not there, and, where
  /// present, tokenizer_config.json, special_tokens_map.json and added_tokens.json.
  /// Throws mos::Error: kIo, or kFormat when they contradict each other.
  static CLIPTokenizer from_directory(const std::filesystem::path& directory);

  /// The same from the contents of these files by name; `origin` is what messages call their
  /// folder. Throws mos::Error(kFormat) as above, or when vocab.json or merges.txt is not there.
  static CLIPTokenizer from_texts(const Texts& texts, const std::string& origin);

  /// OpenAI's vocabulary of 49408 tokens, which every Stable Diffusion 1.x, 2.x and XL has; it is
  /// part of this program. Texts are filled up with `pad`: the end token in 1.x, "!" in 2.x.
  static CLIPTokenizer clip(const std::string& pad = "<|endoftext|>");

  /// Ids of `text` between BOS and EOS, as many as there are.
  std::vector<std::int64_t> encode(std::string_view text) const;

  /// Exactly model_max_length() ids: cut (EOS stays last) or filled with pad_id().
  std::vector<std::int64_t> encode_padded(std::string_view text) const;

  /// Ids of `text` alone, without BOS and EOS.
  std::vector<std::int64_t> encode_words(std::string_view text) const;

  /// The same of texts in which some tokens are there already.
  std::vector<std::int64_t> encode(const PiecedText& text) const;
  std::vector<std::int64_t> encode_padded(const PiecedText& text) const;

  /// Registers `token`, which from now on is cut out of every text before anything else, the
  /// longest first, exactly as it is written (case matters). Returns its id, the next free one.
  /// Throws mos::Error(kUsage) when the token is empty or taken.
  std::int64_t add_token(const std::string& token);

  /// Gives the next free id to a token that no text can name: `name` stands in the files that
  /// save() writes, where other programs look it up. Throws mos::Error(kUsage) as add_token does.
  std::int64_t reserve_token(const std::string& name);
  /// From now on no text can name the added token `name`; another name is left alone. A tokenizer
  /// read from files cuts all added tokens out of texts.
  void withdraw_token(const std::string& name);
  /// Whether any token has this name, one that texts can name or not.
  bool is_taken(std::string_view name) const;

  /// Id of an added token or of an entry of the vocabulary as it is written there ("cat</w>"), if
  /// texts can name it.
  std::optional<std::int64_t> token_id(std::string_view token) const;

  std::int64_t vocab_size() const;       ///< With the added tokens.
  std::int64_t base_vocab_size() const;  ///< Without them.
  std::int64_t bos_id() const { return bos_id_; }
  std::int64_t eos_id() const { return eos_id_; }
  std::int64_t pad_id() const { return pad_id_; }
  std::int64_t model_max_length() const { return model_max_length_; }

  /// Added tokens that texts can name, and their ids.
  const std::map<std::string, std::int64_t, std::less<>>& added_tokens() const { return added_; }

  /// Writes the files that from_directory reads into `directory` (made if need be), the same
  /// bytes for the same tokenizer. Throws mos::Error(kIo).
  void save(const std::filesystem::path& directory) const;

  /// What save() writes, by name.
  Texts texts() const;

  /// Whether the vocabulary without the added tokens is OpenAI's.
  bool has_clip_vocabulary() const;

 private:
  /// Texts of the special tokens as the configuration names them.
  struct SpecialTokens {
    std::string bos = "<|startoftext|>";
    std::string eos = "<|endoftext|>";
    std::string pad = "<|endoftext|>";
    std::string unknown = "<|endoftext|>";
    std::vector<std::string> additional;
  };

  void read_configuration(const Texts& texts, const std::string& origin);
  void read_added_tokens(const Texts& texts, const std::string& origin);
  void register_added(const std::string& token, std::int64_t id, const std::string& origin);
  void resolve_special_tokens(const std::string& origin);
  void put_added(const std::string& token, std::int64_t id);
  void cut_out(const std::string& token);
  void check_free(const std::string& token) const;
  std::vector<std::int64_t> framed(std::vector<std::int64_t> ids) const;
  std::vector<std::int64_t> padded(std::vector<std::int64_t> ids) const;
  std::string_view registered_prefix(std::string_view text) const;
  void encode_plain(std::string_view text, std::vector<std::int64_t>& ids) const;

  std::shared_ptr<const BytePairs> base_;
  std::map<std::string, std::int64_t, std::less<>> added_;
  std::map<std::string, std::int64_t, std::less<>> reserved_;
  std::set<std::int64_t> added_ids_;
  struct LongerFirst {
    bool operator()(const std::string& a, const std::string& b) const {
      return a.size() != b.size() ? a.size() > b.size() : a < b;
    }
  };
  /// Tokens cut out before byte pair encoding by first byte, the longest first.
  std::map<char, std::set<std::string, LongerFirst>> registered_;
  SpecialTokens special_;
  std::int64_t bos_id_ = 0;
  std::int64_t eos_id_ = 0;
  std::int64_t pad_id_ = 0;
  std::int64_t unknown_id_ = 0;
  std::int64_t model_max_length_ = 77;  ///< CLIP's, where no file says otherwise.
};

}  // namespace mos::text
