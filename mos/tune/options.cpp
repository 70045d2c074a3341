#include "mos/tune/options.h"

#include <fmt/core.h>

#include <algorithm>

#include "mos/base/error.h"
#include "mos/base/text.h"
#include "mos/tune/captions.h"

namespace mos::tune {

namespace {

[[noreturn]] void refuse(const std::string& message) { throw Error(ErrorKind::kUsage, message); }

void check_words(const WordOptions& words) {
  const auto names = separate_words(words.words), starts = separate_words(words.initializers);
  if (names.empty() && !words.words.empty()) {
    refuse(
        fmt::format("\"words\" is \"{}\", in which there is no word; leave it out for words "
                    "after the output's name",
                    printable(words.words.front())));
  }
  for (auto word = names.begin(); word != names.end(); ++word) {
    if (std::find(names.begin(), word, *word) != word) {
      refuse(fmt::format("the word {} is given twice", *word));
    }
    if (word->find(kPlaceholder) != word->npos) {
      refuse(fmt::format("{} stands for the concept in captions and cannot be in its word {}",
                         kPlaceholder, *word));
    }
  }
  // Either may be empty: words are then called after the output, and start as the method has it.
  if (!starts.empty() && !names.empty() && starts.size() != names.size()) {
    refuse(fmt::format("there are {} initializers for {} words; give one for each word",
                       starts.size(), names.size()));
  }
}

}  // namespace

std::vector<std::string> separate_words(const std::vector<std::string>& entries) {
  std::vector<std::string> words;
  for (const auto& entry : entries) {
    // The authors write <a1>+<a2> in their option files.
    for (auto& word : split_words(replaced(entry, ">+", "> "))) words.push_back(std::move(word));
  }
  return words;
}

bool changes_weights(const WeightOptions& options) {
  return options.form != WeightForm::kLowRank || options.rank > 0;
}

void check_options(const TuneOptions& options) {
  check_fields(options);
  check_words(options.words);
  if (options.loss.stop_first_token && options.loss.attention_weight > 0) {
    refuse("\"stop_first_token\" goes with \"attention_weight\" 0 alone");
  }
  const auto& pictures = options.pictures;
  if (pictures.scale_max < pictures.scale_min) {
    refuse(fmt::format("\"scale_max\" is {}, expected at least \"scale_min\", {}",
                       pictures.scale_max, pictures.scale_min));
  }
}

}  // namespace mos::tune
