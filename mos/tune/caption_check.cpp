#include "mos/tune/caption_check.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <functional>

#include "mos/base/error.h"
#include "mos/base/log.h"
#include "mos/base/text.h"
#include "mos/base/utf8.h"
#include "mos/text/concept_word.h"
#include "mos/text/prompt_syntax.h"
#include "mos/tune/captions.h"
#include "mos/tune/trainer.h"

namespace mos::tune {

namespace {

/// Calls `use` with every caption of every picture.
void for_each_caption(const ConceptDataset& dataset,
                      const std::function<void(const std::string& name, const Caption&)>& use) {
  for (const auto& picture : dataset.pictures) {
    auto caption = picture.caption;
    const auto others = std::move(caption.others);
    use(picture.name, caption);
    for (const auto& text : others) use(picture.name, {text, caption.from_file, {}});
  }
}

void note(std::vector<std::string>& names, const std::string& name) {
  if (names.empty() || names.back() != name) names.push_back(name);
}

/// `caption` with the parts that name the concept as far behind as shuffling can bring them.
std::string with_late_concept(const std::string& caption, const TuneOptions& options) {
  if (!options.captions.shuffle) return caption;
  auto parts = caption_parts(caption);
  const auto fixed = std::min(static_cast<std::size_t>(options.captions.keep), parts.size());
  const auto& words = options.words.words;
  const auto is_other = [&](const std::string& part) {
    return part.find(kPlaceholder) == part.npos &&
           std::none_of(words.begin(), words.end(),
                        [&](const std::string& word) { return has_word(part, word); });
  };
  std::stable_partition(parts.begin() + static_cast<std::ptrdiff_t>(fixed), parts.end(), is_other);
  return fmt::format("{}", fmt::join(parts, ", "));
}

/// Tokens of a prompt in which every word of the concept is one token.
struct Reach {
  std::int64_t tokens = 0;  ///< With begin and end.
  bool has_concept = true;  ///< Whether every word is among those that are read.
};

class ReachMeter {
 public:
  ReachMeter(text::CLIPTokenizer tokenizer, const WordOptions& words)
      : tokenizer_(std::move(tokenizer)), words_(words.words), phrase_(concept_phrase(words)) {
    for (std::size_t i = 0; i < words_.size(); ++i) {
      stand_ins_.push_back(fmt::format("<|caption check {}|>", i));
      ids_.push_back(tokenizer_.add_token(stand_ins_.back()));
    }
  }

  /// Of the longest prompt that `caption` can become.
  Reach measure(const Caption& caption, const TuneOptions& options) const {
    const auto length = [&](const std::string& sentence) {
      return tokenizer_.encode(sentence).size();
    };
    const auto& sentences = templates_of(caption, options.captions);
    const auto longest =
        std::max_element(sentences.begin(), sentences.end(),
                         [&](const auto& a, const auto& b) { return length(a) < length(b); });
    return measure(replaced(*longest, "{}", with_late_concept(caption.text, options)));
  }

 private:
  Reach measure(const std::string& prompt) const {
    auto text = fill_placeholder(prompt, phrase_);
    for (std::size_t i = 0; i < words_.size(); ++i) {
      text = replaced_word(text, words_[i], stand_ins_[i]);
    }
    const auto all = tokenizer_.encode(text), read = tokenizer_.encode_padded(text);
    const auto is_read = [&](std::int64_t id) {
      return std::find(read.begin(), read.end(), id) != read.end();
    };
    return {static_cast<std::int64_t>(all.size()), std::all_of(ids_.begin(), ids_.end(), is_read)};
  }

  text::CLIPTokenizer tokenizer_;
  std::vector<std::string> words_;
  std::string phrase_;
  std::vector<std::string> stand_ins_;
  std::vector<std::int64_t> ids_;
};

/// A kind of what captions and preview prompts have that is not read as it is meant.
struct PlainKind {
  std::function<std::vector<std::string>(const std::string& text)> parts;
  std::string advice;  ///< Behind "… is read as plain text, ".
};

/// Where, and each distinct part.
std::vector<std::string> plain_text_warnings(const ConceptDataset& dataset, const RunOptions& run,
                                             const PlainKind& kind) {
  const auto sentence = [&](const std::string& where, const std::vector<std::string>& parts) {
    return fmt::format("{} {} read as plain text, {}", where,
                       listed(parts) + (parts.size() == 1 ? " is" : " are"), kind.advice);
  };
  std::vector<std::string> names, parts, sentences;
  for_each_caption(dataset, [&](const std::string& name, const Caption& caption) {
    for (const auto& part : kind.parts(caption.text)) {
      note(names, name);
      if (std::find(parts.begin(), parts.end(), part) == parts.end()) parts.push_back(part);
    }
  });
  if (!names.empty()) {
    sentences.push_back(sentence(fmt::format("in the captions of {}:", listed(names)), parts));
  }
  for (const auto& prompt : run.preview_prompts) {
    const auto own = kind.parts(prompt);
    if (own.empty()) continue;
    sentences.push_back(sentence(fmt::format("in the preview prompt \"{}\":", prompt), own));
  }
  return sentences;
}

PlainKind foreign_syntax() {
  return {text::prompt_syntax, "since what is learned is words alone; leave out what is none"};
}

/// `<hat1>`, where neither the concept nor the base model has it.
PlainKind unknown_words(const TuneOptions& options, const text::CLIPTokenizer& tokenizer) {
  const auto& words = options.words.words;
  const auto parts = [&](const std::string& text) {
    auto unknown = text::bracketed_words(text);
    std::erase_if(unknown, [&](const std::string& word) {
      return word == kPlaceholder || tokenizer.token_id(word) ||
             std::find(words.begin(), words.end(), word) != words.end();
    });
    return unknown;
  };
  std::string name(kPlaceholder);
  if (!words.empty()) name += fmt::format(" or {}", fmt::join(words, " "));
  return {parts, fmt::format("since neither the concept nor the base model has such a word; the "
                             "concept is {}",
                             name)};
}

/// The characters beside `word` where it first stands in `prompt`; none where it does not.
std::vector<std::string_view> beside(std::string_view prompt, std::string_view word) {
  const auto at = prompt.find(word);
  if (at == prompt.npos) return {};
  std::vector<std::string_view> characters;
  auto before = at;
  while (before > 0 && (static_cast<unsigned char>(prompt[--before]) & 0xC0U) == 0x80U) {
  }
  if (at > 0) characters.push_back(prompt.substr(before, at - before));
  const auto behind = prompt.substr(at + word.size());
  if (!behind.empty()) characters.push_back(behind.substr(0, utf8_character(behind)));
  return characters;
}

/// What a word is glued to that `prompt`, made of `caption`, does not have by itself: other letters
/// or what nobody sees. Empty where it is not there, or only a part of another word ("scatter").
std::string glue_of(const std::string& caption, std::string_view prompt, std::string_view word) {
  bool is_meant = caption.find(kPlaceholder) != caption.npos;
  for (const auto character : beside(prompt, word)) {
    if (auto unseen = text::unseen_character(character); !unseen.empty()) return unseen;
    is_meant = is_meant || character.size() > 1;  // of a language without blanks
  }
  return is_meant && prompt.find(word) != prompt.npos ? "other letters" : "";
}

/// Where a caption does not have the words, and why.
struct Lacking {
  std::vector<std::string> names;  ///< None of it.
  std::vector<std::string> glued, glues;

  void take(const std::string& name, const std::vector<std::string>& reasons) {
    const bool is_glued = std::none_of(reasons.begin(), reasons.end(),
                                       [](const std::string& reason) { return reason.empty(); });
    note(is_glued ? glued : names, name);
    if (is_glued && std::find(glues.begin(), glues.end(), reasons[0]) == glues.end()) {
      glues.push_back(reasons[0]);
    }
  }
};

/// Where a caption has the concept beyond what is read: as it stands, or only when it is shuffled.
struct Lost {
  std::vector<std::string> standing, shuffled;
};

std::string sentence_on(const Lost& lost, std::int64_t most, const CaptionOptions& options) {
  const auto sentence = [&](const std::vector<std::string>& names, const char* stands,
                            const char* advice) {
    return fmt::format(
        "in the captions of {} the concept {} behind the {} tokens that the text "
        "encoder reads; write it at the beginning{}",
        listed(names), stands, most, advice);
  };
  const char* const advice =
      options.keep > 0 ? ", or --shuffle false" : " with --keep 1, or --shuffle false";
  std::vector<std::string> sentences;
  if (!lost.standing.empty()) sentences.push_back(sentence(lost.standing, "stands", ""));
  if (!lost.shuffled.empty()) sentences.push_back(sentence(lost.shuffled, "can stand", advice));
  return fmt::format("{}", fmt::join(sentences, "; "));
}

}  // namespace

void check_captions(const ConceptDataset& dataset, const TuneOptions& options) {
  const auto& words = options.words.words;
  const auto phrase = concept_phrase(options.words);
  Lacking lacking;
  for_each_caption(dataset, [&](const std::string& name, const Caption& caption) {
    const auto prompt = fill_placeholder(caption.text, phrase);
    std::vector<std::string> reasons;
    for (const auto& word : words) {
      if (!has_word(prompt, word)) reasons.push_back(glue_of(caption.text, prompt, word));
    }
    if (!reasons.empty()) lacking.take(name, reasons);
  });
  std::vector<std::string> sentences;
  if (!lacking.names.empty()) {
    sentences.push_back(
        fmt::format("the captions of {} lack the concept; write <TOK> or {} where it stands",
                    listed(lacking.names), fmt::join(words, " ")));
  }
  if (!lacking.glued.empty()) {
    sentences.push_back(fmt::format(
        "in the captions of {} the concept is glued to {}; write plain blanks around <TOK> or {}",
        listed(lacking.glued), listed(lacking.glues, 2, " or "), fmt::join(words, " ")));
  }
  if (sentences.empty()) return;
  throw Error(ErrorKind::kUsage, fmt::format("{}", fmt::join(sentences, "; ")));
}

std::vector<std::string> weigh_captions(const ConceptDataset& dataset, const TuneOptions& options,
                                        const text::CLIPTokenizer& tokenizer) {
  const ReachMeter meter(tokenizer, options.words);
  const auto most = tokenizer.model_max_length();
  auto unshuffled = options;
  unshuffled.captions.shuffle = false;
  std::vector<std::string> cut;
  Lost lost;
  for_each_caption(dataset, [&](const std::string& name, const Caption& caption) {
    const auto reach = meter.measure(caption, options);
    if (reach.tokens > most) note(cut, fmt::format("{} ({})", name, reach.tokens));
    if (reach.has_concept) return;
    note(meter.measure(caption, unshuffled).has_concept ? lost.shuffled : lost.standing, name);
  });
  if (const auto said = sentence_on(lost, most, options.captions); !said.empty()) {
    throw Error(ErrorKind::kUsage, said);
  }
  auto warnings = plain_text_warnings(dataset, options.run, foreign_syntax());
  for (auto& warning :
       plain_text_warnings(dataset, options.run, unknown_words(options, tokenizer))) {
    warnings.push_back(std::move(warning));
  }
  if (!cut.empty()) {
    warnings.push_back(
        fmt::format("captions are longer than the {} tokens that the text encoder reads, and what "
                    "is behind them has no effect: {}",
                    most, listed(cut)));
  }
  return warnings;
}

void warn_of_captions(const ConceptDataset& dataset, const TuneOptions& options,
                      const text::CLIPTokenizer& tokenizer) {
  for (const auto& warning : weigh_captions(dataset, options, tokenizer)) log::warn(warning);
}

}  // namespace mos::tune
