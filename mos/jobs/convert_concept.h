#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "mos/base/counts.h"
#include "mos/base/describe.h"
#include "mos/checkpoint/checkpoint.h"
#include "mos/jobs/context.h"
#include "mos/session/concept_keys.h"

/// Writing a concept, a LoRA or an embedding in another dialect.
namespace mos::jobs {

/// Which half of a concept is written.
enum class Half { kBoth, kWords, kLora };
constexpr auto choice_names(Half) {
  return std::to_array<Named<Half>>(
      {{"both", Half::kBoth}, {"words", Half::kWords}, {"lora", Half::kLora}});
}

struct ConvertConceptJob {
  std::string in, out;
  std::string to;  ///< See concepts::concept_format; empty: by the ending of `out`.
  Half only = Half::kBoth;
  std::string word;        ///< WORD or WORD=NEW; empty: all of them.
  bool mean_rows = false;  ///< One row for a word that has one for each layer.
  /// Where what the mean loses is measured, empty: it is only said; and whose weights tell what
  /// forms come to that depend on them (DoRA, spectral shifts, silenced neurons).
  std::string base;
  std::int64_t rank = 64;  ///< Of what becomes a plain LoRA.
  std::string dtype;       ///< Empty: as in the file.
  checkpoint::ReadOptions read;
  session::KeyOptions keys;
};

template <class Visitor>
void describe(Visitor& visit, ConvertConceptJob& o) {
  visit("in", o.in, "the concept, LoRA or embedding", a_path());
  visit("out", o.out, "the file to write", a_path());
  visit(
      "to", o.to,
      "mos, official (the authors' .pth), kohya, peft, diffusers, a1111, textual-inversion or xti "
      "(empty: by the ending of --out)");
  visit("only", o.only, "words or lora leaves the other half out");
  visit("word", o.word, "WORD[=NEW]: this word alone, under another name if NEW is given");
  visit("mean_rows", o.mean_rows, "one row for a word that has one for each layer: their mean");
  visit(
      "base", o.base,
      "what the mean changes is measured on it, and forms that depend on its weights become others",
      a_path());
  visit("rank", o.rank,
        "of what becomes a plain LoRA because the format has no place for its form (LoHa, LoKr, "
        "DoRA, full differences)",
        count_of(1, kHighestRank));
  visit("dtype", o.dtype, "float32, float16 or bfloat16 (empty: as in the file)");
  describe(visit, o.read);
  describe(visit, o.keys);
}

/// Throws mos::Error(kUsage) naming the first value that is impossible. Reads nothing.
void check(const ConvertConceptJob& job);

/// Throws kIo, kFormat, kMismatch for files that are none or do not fit each other, kUsage for
/// what the target cannot hold and for places.
void run(const ConvertConceptJob& job, const JobContext& context = {});

}  // namespace mos::jobs
