#include "mos/fuse/sources.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <set>
#include <sstream>
#include <utility>

#include "mos/base/error.h"
#include "mos/base/json.h"
#include "mos/base/naming.h"
#include "mos/base/text.h"
#include "mos/concepts/concept_file.h"
#include "mos/concepts/training_metadata.h"
#include "mos/text/concept_word.h"

namespace mos::fuse {
namespace fs = std::filesystem;

namespace {

/// By its own name or by the one that its author gave it.
bool is_called(const concepts::ConceptWord& own, const std::string& word) {
  return own.word == word || (!own.alias.empty() && own.alias == word);
}

bool teaches_word(const ConceptSource& source, const std::string& word) {
  return std::any_of(source.delta.words.begin(), source.delta.words.end(),
                     [&](const auto& own) { return is_called(own, word); });
}

/// `phrase` with the whole word `from` (between spaces) written `to`.
std::string replace_word(const std::string& phrase, const std::string& from,
                         const std::string& to) {
  std::istringstream words(phrase);
  std::string result, word;
  while (words >> word) result += (result.empty() ? "" : " ") + (word == from ? to : word);
  return result;
}

/// FILE=WORDS in two; a file that is there is a file, whatever its name.
std::pair<fs::path, std::string> split_phrase(const std::string& text) {
  const auto equals = text.rfind('=');
  if (equals == std::string::npos || fs::exists(text)) return {text, ""};
  return {text.substr(0, equals), text.substr(equals + 1)};
}

/// Names head the columns of the report: no two may be the same.
void make_names_distinct(std::vector<ConceptSource>& sources) {
  std::map<std::string, int> seen;
  for (auto& source : sources) {
    const int count = ++seen[source.name];
    if (count > 1) source.name += fmt::format(" ({})", count);
  }
}

/// What the file says of its training, as a hint.
std::string suggestion(const ConceptSource& source) {
  const auto tags = concepts::trained_phrases(source.delta.metadata, 3);
  if (tags.empty()) return "";
  return fmt::format("; it was trained on \"{}\"", fmt::join(tags, "\", \""));
}

[[noreturn]] void throw_unknown_word(const ConceptSource& source, const std::string& phrase,
                                     const std::string& word, const std::string& origin) {
  const auto own = source.delta.phrase();
  throw Error(ErrorKind::kMismatch,
              fmt::format("{}: {} is to be called \"{}\", but has no word {}; {}{}", origin,
                          source.name, phrase, word,
                          own.empty() ? "it has none of its own, so plain words call it"
                                      : fmt::format("its own are \"{}\"", own),
                          own.empty() ? suggestion(source) : ""));
}

/// Puts the words of `phrase` first in the concept's words, in that order: the list decides which
/// words there are.
void take_phrase(ConceptSource& source, const std::string& phrase, const std::string& origin) {
  std::vector<concepts::ConceptWord> ordered;
  std::istringstream words(phrase);
  for (std::string word; words >> word;) {
    const auto& known = source.delta.words;
    const auto found = std::find_if(known.begin(), known.end(),
                                    [&](const auto& own) { return is_called(own, word); });
    if (found != known.end()) {
      ordered.push_back(*found);
      ordered.back().word = word;  // an author's name, where that is how it stands in the phrase
      // Other words are plain text: a trigger, or what the author wrote around it.
    } else if (word.front() == '<') {
      throw_unknown_word(source, phrase, word, origin);
    }
  }
  source.delta.words = std::move(ordered);
  source.phrase = phrase;
}

/// The same for words behind a file's name on the command line. Throws kUsage where they leave out
/// what the file teaches: unlike the authors' list, they are meant for files without words.
void take_given_phrase(ConceptSource& source, const std::string& phrase,
                       const std::string& origin) {
  const auto taught = source.delta.words;
  take_phrase(source, phrase, origin);
  std::vector<std::string> all, left_out;
  for (const auto& word : taught) {
    all.push_back(word.word);
    const bool stays = std::ranges::any_of(
        source.delta.words, [&](const auto& kept) { return is_called(word, kept.word); });
    if (!stays) left_out.push_back(word.word);
  }
  if (left_out.empty()) return;
  throw Error(ErrorKind::kUsage,
              fmt::format("{0} teaches {1}, and \"{2}\" leaves out {3}, which would be lost; write "
                          "the file's name alone, or \"{0}={1}\"",
                          origin, fmt::join(all, " "), phrase, fmt::join(left_out, " ")));
}

/// What our own file says that it is called, where it still has the words for that.
void take_own_phrase(ConceptSource& source, const fs::path& path) {
  const auto own = source.delta.metadata.find(concepts::kPhraseKey);
  if (own == source.delta.metadata.end()) return;
  const auto words = split_words(own->second);
  const bool has_all = std::ranges::all_of(words, [&](const std::string& word) {
    return word.front() != '<' || teaches_word(source, word);
  });
  if (has_all) take_phrase(source, own->second, path.string());
}

ConceptSource load_source(const fs::path& path, concepts::UnexpectedKeys unexpected) {
  auto file = concepts::read_concept_file(path, unexpected);
  ConceptSource source{.name = path.stem().string(),
                       .delta = std::move(file.delta),
                       .phrase = {},
                       .keys = std::move(file.keys),
                       .file = path};
  take_own_phrase(source, path);
  return source;
}

}  // namespace

std::vector<ConceptSource> load_sources(std::span<const std::string> files,
                                        concepts::UnexpectedKeys unexpected) {
  std::vector<ConceptSource> sources;
  for (const auto& text : files) {
    const auto [file, phrase] = split_phrase(text);
    sources.push_back(load_source(file, unexpected));
    if (!phrase.empty()) take_given_phrase(sources.back(), phrase, file.string());
  }
  make_names_distinct(sources);
  return sources;
}

namespace {

/// An entry of the authors' list.
struct ListedConcept {
  fs::path file;
  std::map<checkpoint::Part, double> scales = {};
  std::string phrase = {};
};

ListedConcept listed_concept(const Json& entry) {
  ListedConcept listed{.file = json_required<std::string>(entry, "lora_path")};
  for (const auto part : checkpoint::kTunedParts) {
    listed.scales[part] = json_value(entry, fmt::format("{}_alpha", folder_of(part)), 1.0);
  }
  listed.phrase = json_value(entry, "concept_name", std::string());
  return listed;
}

}  // namespace

std::vector<ConceptSource> load_source_list(const fs::path& list,
                                            concepts::UnexpectedKeys unexpected) {
  const auto entries = read_json_file(list);
  if (!entries.is_array() || entries.empty()) {
    throw Error(ErrorKind::kFormat,
                fmt::format("{} must hold a JSON array of concepts, each with lora_path, "
                            "unet_alpha, {}_alpha and concept_name",
                            list.string(), folder_of(checkpoint::Part::kTextEncoder)));
  }
  std::vector<ConceptSource> sources;
  for (const auto& entry : entries) {
    if (!entry.is_object()) {
      throw Error(ErrorKind::kFormat, list.string() + " holds a concept that is no JSON object");
    }
    const auto listed = naming(list.string(), [&] { return listed_concept(entry); });
    // Lists travel with their files; a path that holds from the working folder wins, as in the
    // authors' script.
    const auto file = fs::exists(listed.file) ? listed.file : list.parent_path() / listed.file;
    auto source = load_source(file, unexpected);
    for (const auto& [part, scale] : listed.scales) source.scales[part] = scale;
    if (!listed.phrase.empty()) take_phrase(source, listed.phrase, list.string());
    sources.push_back(std::move(source));
  }
  make_names_distinct(sources);
  return sources;
}

Rename parse_rename(const std::string& text) {
  Rename rename;
  std::string_view rest = text;
  if (const auto colon = rest.find(':'); colon != std::string_view::npos) {
    const auto number = number_in<std::size_t>(rest.substr(0, colon));
    if (number && *number > 0) {
      rename.concept_number = *number;
      rest.remove_prefix(colon + 1);
    }
  }
  const auto equals = rest.rfind('=');  // the old word may have some, and blanks
  if (equals != std::string_view::npos) {
    rename.from = rest.substr(0, equals);
    rename.to = rest.substr(equals + 1);
  }
  if (rename.from.empty() || rename.to.empty() || rename.to.find(' ') != rename.to.npos) {
    throw Error(ErrorKind::kUsage,
                fmt::format("\"{}\" is no rename; expected <old>=<new>, or 2:<old>=<new> for the "
                            "second concept",
                            text));
  }
  if (const auto fault = text::new_word_fault(rename.to); !fault.empty()) {
    throw Error(ErrorKind::kUsage, fmt::format("--rename to \"{}\": {}; choose another word",
                                               printable(rename.to), fault));
  }
  return rename;
}

namespace {

/// "; there are <a1>, <a2>".
std::string words_there(const std::vector<ConceptSource>& sources) {
  std::vector<std::string> words;
  for (const auto& source : sources) {
    for (const auto& word : source.delta.words) words.push_back(word.word);
  }
  return words.empty() ? "" : fmt::format("; there are {}", fmt::join(words, ", "));
}

}  // namespace

void rename_words(std::vector<ConceptSource>& sources, std::span<const Rename> renames) {
  for (const auto& rename : renames) {
    ConceptSource* chosen = nullptr;
    for (std::size_t i = 0; i < sources.size(); ++i) {
      const bool asked_for = rename.concept_number == 0 || rename.concept_number == i + 1;
      // The last that has it: the first keeps its word, so two files with one word need a single
      // rename.
      if (asked_for && teaches_word(sources[i], rename.from)) chosen = &sources[i];
    }
    if (chosen == nullptr) {
      throw Error(ErrorKind::kUsage,
                  fmt::format("cannot rename {}: {} has that word{}", rename.from,
                              rename.concept_number == 0
                                  ? std::string("no concept")
                                  : fmt::format("concept {} is not there or not one that",
                                                rename.concept_number),
                              words_there(sources)));
    }
    for (auto& word : chosen->delta.words) {
      if (is_called(word, rename.from)) word.word = rename.to;
    }
    chosen->phrase = replace_word(chosen->phrase, rename.from, rename.to);
  }
}

void check_words(const std::vector<ConceptSource>& sources, std::span<const std::string> taken) {
  std::map<std::string, std::string> owner;
  for (const auto& word : taken) owner[word] = "the base model";
  for (std::size_t i = 0; i < sources.size(); ++i) {
    const auto& source = sources[i];
    if (source.prompt_phrase().empty()) {
      throw Error(ErrorKind::kUsage,
                  fmt::format("{} has no words of its own; say how it stands in a prompt, as in "
                              "\"{}.safetensors=trigger words\"{}",
                              source.name, source.name, suggestion(source)));
    }
    std::vector<std::string> words, renames;
    std::string other;
    for (const auto& word : source.delta.words) {
      const auto [entry, fresh] = owner.try_emplace(word.word, source.name);
      if (fresh || (!words.empty() && entry->second != other)) continue;
      other = entry->second;
      words.push_back(word.word);
      renames.push_back(fmt::format("{}:{}=<new{}>", i + 1, word.word, renames.size() + 1));
    }
    if (words.empty()) continue;
    throw Error(ErrorKind::kUsage,
                fmt::format("{} and {} both use the word{} {}; give the latter other ones with "
                            "--rename \"{}\"",
                            other, source.name, words.size() == 1 ? "" : "s",
                            fmt::join(words, " and "), fmt::join(renames, ",")));
  }
}

std::vector<std::string> shared_triggers(const std::vector<ConceptSource>& sources) {
  std::vector<std::string> sentences;
  const auto words_of = [](const ConceptSource& source) {
    const auto words = split_words(lower_ascii(source.prompt_phrase()));
    return std::set<std::string>(words.begin(), words.end());
  };
  for (std::size_t i = 0; i < sources.size(); ++i) {
    for (std::size_t j = i + 1; j < sources.size(); ++j) {
      const auto one = words_of(sources[i]), other = words_of(sources[j]);
      // As sets: "sks dog" answers wherever "dog sks" stands.
      const bool within = std::includes(one.begin(), one.end(), other.begin(), other.end());
      const bool around = std::includes(other.begin(), other.end(), one.begin(), one.end());
      if (!within && !around) continue;
      const auto& shared = within ? sources[j] : sources[i];
      sentences.push_back(fmt::format(
          "{} and {} both answer to \"{}\", so they will mix wherever it stands in a prompt; call "
          "one of them by other words that it was trained on, or train it with words of its own",
          sources[i].name, sources[j].name, shared.prompt_phrase()));
    }
  }
  return sentences;
}

}  // namespace mos::fuse
