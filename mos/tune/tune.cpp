#include "mos/tune/tune.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "mos/base/error.h"
#include "mos/base/runtime.h"
#include "mos/base/text.h"
#include "mos/text/concept_word.h"
#include "mos/tune/caption_check.h"
#include "mos/tune/captions.h"
#include "mos/tune/prior.h"
#include "mos/tune/run.h"
#include "mos/tune/start_check.h"

namespace mos::tune {

namespace {

/// The authors' start values: a small random vector for the adjective, the class word's own row
/// for the subject. With a rare word all start from that.
std::vector<std::string> default_initializers(const WordOptions& words) {
  if (!words.rare_word.empty()) {
    return std::vector<std::string>(words.words.size(), words.rare_word);
  }
  const bool has_class = !words.class_word.empty() && !words.class_behind;
  const double authors = has_class ? 0.013 : 0.017;
  const double sigma = words.random_sigma > 0 ? words.random_sigma : authors;
  std::vector<std::string> initializers(words.words.size(), fmt::format("<rand-{}>", sigma));
  if (has_class && !initializers.empty()) {
    if (split_words(words.class_word).size() > 1) {
      throw Error(
          ErrorKind::kUsage,
          fmt::format("the concept's last word cannot begin as the class word \"{}\", which "
                      "is several words; name the start of each word with --initializers",
                      printable(words.class_word)));
    }
    initializers.back() = words.class_word;
  }
  return initializers;
}

void check_words(const std::vector<std::string>& words) {
  for (const auto& word : words) {
    const auto fault = text::new_word_fault(word);
    if (fault.empty()) continue;
    throw Error(ErrorKind::kUsage, fmt::format("the word \"{}\" cannot be tuned: {}; name another",
                                               printable(word), fault));
  }
}

/// The words where the options leave them open. Plain words are no business of a data folder: there
/// is the rare word, if there is one.
std::vector<std::string> default_words(const WordOptions& words, const ConceptDataset& dataset) {
  if (words.rows == WordRows::kNone) {
    return words.rare_word.empty() ? std::vector<std::string>()
                                   : std::vector<std::string>{words.rare_word};
  }
  auto named = separate_words(dataset.words);
  const bool one = words.single_word || words.class_behind;  // then the class word is the other
  if (one && named.size() > 1) named.resize(1);
  return named;
}

}  // namespace

bool needs_words(const TuneOptions& options) {
  return options.words.rows == WordRows::kPerLayer || !changes_weights(options.weights);
}

WordOptions complete_words(WordOptions words, const ConceptDataset& dataset) {
  words.words = words.words.empty() ? default_words(words, dataset) : separate_words(words.words);
  if (words.class_word.empty()) words.class_word = dataset.class_word;
  if (words.class_word.empty() && words.words.empty()) words.class_word = dataset.phrase;
  return words;
}

TuneOptions complete_options(TuneOptions options, const ConceptDataset& dataset) {
  auto& words = options.words;
  const bool has_rows = words.rows != WordRows::kNone;
  words = complete_words(words, dataset);
  if (has_rows) check_words(words.words);
  words.initializers = separate_words(words.initializers);
  if (words.words.empty() && needs_words(options)) {
    throw Error(ErrorKind::kUsage,
                "the concept has no words; name them with --words \"<fox1>,<fox2>\" or in "
                "concept.json");
  }
  if (concept_phrase(words).empty()) {
    throw Error(ErrorKind::kUsage,
                "a concept without words needs a class word; name it with --class-word");
  }
  if (words.initializers.empty() && has_rows) words.initializers = default_initializers(words);
  if (dataset.templates && options.captions.templates == Templates::kAuto) {
    options.captions.templates = *dataset.templates;
  }
  check_options(options);
  check_captions(dataset, options);
  return options;
}

concepts::ConceptDelta tune_concept(const diffusion::Model& base, const ConceptDataset& dataset,
                                    const TuneOptions& options, const TuneHooks& hooks) {
  if (dataset.pictures.empty()) {
    throw Error(ErrorKind::kUsage, "there are no pictures to tune on");
  }
  const ScopedThreads threads(options.run.threads);
  const auto complete = complete_options(options, dataset);
  warn_of_captions(dataset, complete, base.tokenizer());
  auto data = dataset;  // of the pictures it has, handles
  if (complete.prior.pictures > 0) {
    check_start(base, dataset, complete);  // which the trainer does, but they take minutes
    data.prior = prior_pictures(
        base, complete,
        {.folder = hooks.prior_folder, .progress = hooks.progress, .cancel = hooks.cancel});
  }
  return Run(base, data, complete, hooks).finish();
}

}  // namespace mos::tune
