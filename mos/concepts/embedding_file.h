#pragma once

#include <array>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "mos/concepts/concept_delta.h"
#include "mos/concepts/key_report.h"
#include "mos/io/state_dict.h"

/// Words (Textual Inversion embeddings) from the tensors of a file, and the way back.
namespace mos::concepts {

/// Who keeps embeddings like that.
enum class EmbeddingDialect {
  kOfficial,   ///< `new_concept_embedding/<word>` [L,C]: the authors' files and ours.
  kA1111,      ///< `string_to_param` {"*": [n,C]} with a name, or `emb_params` [n,C].
  kDiffusers,  ///< {word: [C] or [n,C]}.
  kXti,        ///< kohya's XTI: `IN01` … `MID` … `OUT11`, [n,C] for each cross-attention layer.
  kBundle,     ///< `bundle_emb.<word>.string_to_param.*` beside LoRA keys.
};

/// "A1111", "diffusers", …
std::string_view name_of(EmbeddingDialect dialect);

/// XTI's names of the cross-attention layers of Stable Diffusion 1.x and 2.x, in their order.
inline constexpr std::array<const char*, 16> kXtiLayers = {
    "IN01",  "IN02",  "IN04",  "IN05",  "IN07",  "IN08",  "MID",   "OUT03",
    "OUT04", "OUT05", "OUT06", "OUT07", "OUT08", "OUT09", "OUT10", "OUT11"};

/// Takes the words of a file from those of its tensors that are no LoRA.
class EmbeddingCollector {
 public:
  /// `file_word`: the name of the file without its ending, as which A1111 and ComfyUI know the
  /// embedding in it; `inner_name`: what the file says its name is, or nothing. Authors leave
  /// others' names in there, so that it is only the word's alias.
  EmbeddingCollector(std::string file_word, std::string inner_name)
      : file_word_(std::move(file_word)), inner_name_(std::move(inner_name)) {}

  /// False when `key` is not one that an embedding file has.
  bool take(const std::string& key, const torch::Tensor& tensor);
  /// Keys that take() refused, which are a diffusers file {word: vector} when nothing else is in
  /// the file: one key alone, or keys like `<word>`; a vector without a key is called as the file.
  /// False: they are not.
  bool take_dictionary(const io::StateDict& rest);
  /// A tensor of which somebody else knows that it is a word.
  void take_word(const std::string& word, const torch::Tensor& tensor);

  /// All words, sorted by name; tensors of impossible shapes are in `report`.
  void finish(ConceptDelta& delta, KeyReport& report) const;

  const std::map<EmbeddingDialect, std::size_t>& dialects() const { return dialects_; }

 private:
  struct Vector {
    EmbeddingDialect dialect;
    std::string word;  ///< Empty: as the file.
    std::string key;
    torch::Tensor tensor;
    std::string inner_name = {};  ///< Beside `*`, what A1111's dictionary calls it.
  };
  void add(Vector vector);
  ConceptWord named_as_the_file(ConceptWord word, const std::string& entry) const;
  void finish_layers(ConceptDelta& delta, KeyReport& report) const;

  std::string file_word_, inner_name_;
  std::vector<Vector> vectors_;
  std::map<std::string, torch::Tensor> layers_;  ///< XTI, by name.
  std::vector<std::string> ids_;                 ///< Keys with token numbers, which mean nothing.
  std::map<EmbeddingDialect, std::size_t> dialects_;
};

/// One word as the tensors of a file. kOfficial holds every word; kXti needs rows for 16 layers (or
/// repeats shared ones); all others one row for each of the word's tokens.
/// Throws mos::Error(kMismatch) when `dialect` cannot hold the word's layer-wise rows, kUsage when
/// it cannot hold its name.
io::StateDict word_tensors(const ConceptWord& word, EmbeddingDialect dialect);

/// The word with the mean of its layers' rows instead, float32 [n,C].
ConceptWord with_mean_rows(const ConceptWord& word);

}  // namespace mos::concepts
