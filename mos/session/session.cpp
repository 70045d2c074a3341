#include "mos/session/session.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <map>
#include <set>
#include <system_error>
#include <utility>

#include "mos/base/error.h"
#include "mos/base/factor.h"
#include "mos/base/log.h"
#include "mos/base/sha256.h"
#include "mos/base/text.h"
#include "mos/base/text_distance.h"
#include "mos/concepts/concept_file.h"
#include "mos/concepts/lora.h"
#include "mos/concepts/training_metadata.h"
#include "mos/region/scene_text.h"
#include "mos/text/prompt_syntax.h"
#include "mos/text/weighted_prompt.h"

namespace mos::session {
namespace {

/// Of the file, and of those that were read with it.
std::string hash_of(const concepts::ConceptFile& file, const std::string& path) {
  if (file.companions.empty()) return file_hash(path);
  auto all = file_hash(path);
  // One hash for several files: that of their hashes.
  for (const auto& beside : file.companions) all += file_hash(beside);
  Sha256 sha;
  sha.update(all.data(), all.size());
  return sha.hex();
}

std::vector<concepts::ConceptFile> load_concepts(std::vector<ConceptUse>& uses,
                                                 const KeyOptions& keys) {
  std::vector<concepts::ConceptFile> files;
  for (auto& use : uses) {
    check_factor("the factor on " + use.file, use.scale);
    files.push_back(concepts::read_concept_file(use.file, keys.unexpected()));
    const auto hash = hash_of(files.back(), use.file);
    check_hash(use.file, use.sha256, hash);
    use.sha256 = hash;
  }
  return files;
}

bool is_word_letter(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_';
}

/// What looks like a concept word in `prompt`: "<", letters and digits, ">".
std::vector<std::string> words_in(const std::string& prompt) {
  std::vector<std::string> words;
  for (auto begin = prompt.find('<'); begin != std::string::npos;
       begin = prompt.find('<', begin + 1)) {
    auto end = begin + 1;
    while (end < prompt.size() && is_word_letter(prompt[end])) ++end;
    if (end > begin + 1 && end < prompt.size() && prompt[end] == '>') {
      words.push_back(prompt.substr(begin, end - begin + 1));
    }
  }
  return words;
}

void refuse_unknown_words(const Session& session, const std::string& prompt) {
  std::vector<std::string> known;
  for (const auto& word : session.tokens.words()) known.push_back(word.word);
  for (const auto& word : words_in(prompt)) {
    // A tokenizer may have been given words of that look by other programs.
    if (session.tokens.knows(word) || session.model.tokenizer().token_id(word)) continue;
    throw Error(ErrorKind::kUsage,
                fmt::format("the prompt \"{}\" has the word {}, which no given concept has{}",
                            prompt, word, did_you_mean(word, known)));
  }
}

/// Encoders read only the first tokens of a prompt; what is behind them has no effect.
void warn_if_cut(const Session& session, const std::string& prompt) {
  const auto& tokenizer = session.model.tokenizer();
  const auto bound = session.tokens.bind(prompt);
  const auto tokens = static_cast<std::int64_t>(tokenizer.encode(bound.front()).size());
  if (tokens <= tokenizer.model_max_length()) return;
  log::warn(fmt::format("the prompt \"{}\" has {} tokens, of which this model reads {}", prompt,
                        tokens, tokenizer.model_max_length()));
}

/// In float32 where there are updates, before the weights become what the session computes in.
/// Concepts that are composed stay apart.
void merge(diffusion::Model& model, const std::vector<HeldConcept>& held,
           const SessionOptions& options) {
  std::map<checkpoint::Part, std::vector<concepts::ScaledLora>> loras;
  const bool are_apart = options.compose != region::Compose::kMerged;
  for (const auto& one : held) {
    if (are_apart) break;
    for (const auto& [part, updates] : one.delta.updates) {
      loras[part].push_back({&updates, one.scale, one.name});
    }
  }
  for (const auto& [part, of_part] : loras) {
    concepts::merge_loras(*model.network(part), of_part, options.dtype);
  }
  for (const auto& [part, config] : model.settings.configs) {
    model.network(part)->to(options.device, options.dtype);
  }
}

std::vector<Session::Guest> add_words(diffusion::Model& model, concepts::ConceptTokens& tokens,
                                      const std::vector<HeldConcept>& held) {
  std::vector<Session::Guest> guests;
  for (const auto& one : held) {
    tokens.add(one.delta.words, model.towers);
    const auto phrase = one.delta.metadata.find(concepts::kPhraseKey);
    guests.push_back({one.name, {}, {}, phrase == one.delta.metadata.end() ? "" : phrase->second});
    for (const auto& word : one.delta.words) {
      guests.back().words.push_back(word.word);
      guests.back().aliases.push_back(word.alias);
    }
  }
  return guests;
}

}  // namespace

void check_hash(const std::string& what, const std::string& expected, const std::string& actual) {
  if (expected.empty() || expected == actual) return;
  throw Error(ErrorKind::kMismatch,
              fmt::format("{} has changed since the picture was made: its SHA-256 is {}…, the "
                          "record says {}…; name the former one",
                          what, actual.substr(0, 12), expected.substr(0, 12)));
}

Session open_session(const SessionOptions& options) {
  torch::NoGradGuard no_grad;
  auto uses = options.concepts;
  auto files = load_concepts(uses, options.keys);
  auto held = options.held;
  const bool is_plain = files.empty() && held.empty();
  auto model = diffusion::Model::load(
      options.base,
      // Weights that are merged into are loaded as they are, and rounded once, after the sum.
      {.dtype = is_plain ? std::optional(options.dtype) : std::nullopt, .read = options.read});
  const auto hash = diffusion::model_hash(model);
  check_hash("the base model " + options.base, options.base_hash, hash);
  for (std::size_t i = 0; i < files.size(); ++i) {
    auto& delta = files[i].delta;
    compare_base(uses[i].file, delta, hash);
    settle_keys(uses[i].file, model, delta, std::move(files[i].keys), options.keys);
    held.push_back({uses[i].file, std::move(delta), uses[i].scale});
  }
  merge(model, held, options);
  auto tokens = concepts::known_words(model);
  auto guests = add_words(model, tokens, held);
  return {.model = std::move(model),
          .tokens = std::move(tokens),
          .base = options.base,
          .read = options.read,
          .base_hash = hash,
          .concepts = std::move(uses),
          .guests = std::move(guests),
          .apart = options.compose == region::Compose::kMerged ? std::vector<HeldConcept>()
                                                               : std::move(held)};
}

bool calls(const Session& session, const Session::Guest& guest, const std::string& prompt) {
  if (guest.words.empty()) return !guest.phrase.empty() && has_word(prompt, guest.phrase);
  const auto has = [&](const std::string& word) {
    return session.tokens.knows(word) && has_word(prompt, word);
  };
  return std::any_of(guest.words.begin(), guest.words.end(), has) ||
         std::any_of(guest.aliases.begin(), guest.aliases.end(), has);
}

std::string find_lora(const std::string& name, const std::filesystem::path& folder) {
  // The folder first: a file of that name in the working folder is there by chance.
  for (const auto& place : {folder / name, std::filesystem::path(name)}) {
    for (const char* ending : {"", ".safetensors", ".pt", ".pth", ".bin", ".ckpt"}) {
      auto file = place;
      file += ending;
      std::error_code ignored;
      if (std::filesystem::is_regular_file(file, ignored)) return file.lexically_normal().string();
    }
  }
  throw Error(
      ErrorKind::kUsage,
      fmt::format("a prompt names <lora:{}>, but there is no file {}.safetensors in {}; name "
                  "its folder with --lora-folder, or take brackets for plain text with "
                  "--plain-text",
                  name, name, folder.string()));
}

void check_words(const Session& session, const region::Scene& scene, bool plain_text) {
  const auto prompts = region::prompts_of(scene);
  for (const auto& guest : session.guests) {
    const auto is_called = [&](const std::string& prompt) { return calls(session, guest, prompt); };
    // A LoRA without words acts on every prompt.
    if (guest.words.empty() || std::any_of(prompts.begin(), prompts.end(), is_called)) continue;
    throw Error(ErrorKind::kUsage,
                fmt::format("no prompt has a word of the concept {}; write {} where it shall be",
                            guest.file, fmt::join(guest.words, " ")));
  }
  std::set<std::string> said;
  for (const auto& prompt : prompts) {
    refuse_unknown_words(session, prompt);
    if (plain_text) warn_if_cut(session, prompt);
    if (!plain_text) text::parse_weights(prompt);  // throws for what it cannot mean
    for (const auto& sentence : text::foreign_syntax(prompt, plain_text)) {
      if (said.insert(sentence).second) log::warn(sentence);
    }
  }
}

}  // namespace mos::session
