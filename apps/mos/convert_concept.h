#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>

#include "mos/base/describe.h"
#include "mos/checkpoint/checkpoint.h"
#include "mos/session/concept_keys.h"

namespace mos::app {

/// Which half of a concept is written.
enum class Half { kBoth, kWords, kLora };
constexpr auto choice_names(Half) {
  return std::to_array<Named<Half>>(
      {{"both", Half::kBoth}, {"words", Half::kWords}, {"lora", Half::kLora}});
}

struct ConvertConceptOptions {
  std::string to;
  Half only = Half::kBoth;
  std::string word;
  bool mean_rows = false;
  std::string base;
  std::int64_t rank = 64;
  std::string dtype;
  checkpoint::ReadOptions read;
  session::KeyOptions keys;
};

template <class Visitor>
void describe(Visitor& visit, ConvertConceptOptions& o) {
  visit(
      "to", o.to,
      "mos, official (the authors' .pth), kohya, peft, diffusers, a1111, textual-inversion or xti "
      "(empty: by the ending of --out)");
  visit("only", o.only, "words or lora leaves the other half out");
  visit("word", o.word, "WORD[=NEW]: this word alone, under another name if NEW is given");
  visit("mean_rows", o.mean_rows, "one row for a word that has one for each layer: their mean");
  visit("base", o.base, "measure on this base model what the mean changes", a_path());
  visit("rank", o.rank,
        "of what becomes a plain LoRA because the format has no place for its form (LoHa, LoKr, "
        "DoRA, full differences)",
        at_least(1));
  visit("dtype", o.dtype, "float32, float16 or bfloat16 (empty: as in the file)");
  describe(visit, o.read);
  describe(visit, o.keys);
}

/// `mos convert` for files of concepts, LoRA and embeddings: `in` in another dialect at `out`.
/// Throws kIo, kFormat, kMismatch for files that are none or do not fit each other, kUsage for
/// what the target cannot hold.
void convert_concept(const std::filesystem::path& in, const std::filesystem::path& out,
                     const ConvertConceptOptions& options);

}  // namespace mos::app
