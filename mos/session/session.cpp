#include "mos/session/session.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <map>
#include <set>
#include <string_view>
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
#include "mos/text/concept_word.h"
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
  return sha256_of(all);
}

std::vector<concepts::ConceptFile> load_concepts(const std::vector<ConceptUse>& uses,
                                                 const KeyOptions& keys) {
  std::vector<concepts::ConceptFile> files;
  for (const auto& use : uses) {
    check_factor("the factor on " + use.file, use.scale);
    files.push_back(concepts::read_concept_file(use.file, keys.unexpected()));
  }
  return files;
}

void refuse_unknown_words(const Session& session, const std::string& prompt) {
  std::vector<std::string> known;
  for (const auto& word : session.tokens.words()) known.push_back(word.word);
  for (const auto& word : text::bracketed_words(prompt)) {
    // A tokenizer may have been given words of that look by other programs.
    if (session.tokens.knows(word) || session.model.tokenizer().token_id(word)) continue;
    throw Error(ErrorKind::kUsage,
                fmt::format("the prompt \"{}\" has the word {}, which no given concept has{}; give "
                            "the file that has it with --concept",
                            prompt, word, did_you_mean(word, known)));
  }
}

/// `texts` once each, in their order: regions without a prompt have that of the scene, of which
/// nothing is said twice.
std::vector<std::string> distinct(const std::vector<std::string>& texts) {
  std::vector<std::string> once;
  for (const auto& text : texts) {
    if (std::find(once.begin(), once.end(), text) == once.end()) once.push_back(text);
  }
  return once;
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

/// Concepts that options name by their files.
struct GivenFiles {
  std::vector<ConceptUse> uses;  ///< With their hashes.
  std::vector<concepts::ConceptFile> files;
};

GivenFiles read_given(const SessionOptions& options) {
  GivenFiles given{options.concepts, load_concepts(options.concepts, options.keys)};
  for (std::size_t i = 0; i < given.files.size(); ++i) {
    auto& use = given.uses[i];
    const auto hash = hash_of(given.files[i], use.file);
    check_hash(use.file, use.sha256, hash);
    use.sha256 = hash;
  }
  return given;
}

/// Those that options hold, then those of files, without what `model` has no place for.
std::vector<HeldConcept> hold(diffusion::Model& model, GivenFiles& given,
                              const SessionOptions& options) {
  auto held = options.held;
  for (std::size_t i = 0; i < given.files.size(); ++i) {
    const auto& use = given.uses[i];
    auto& delta = given.files[i].delta;
    settle_keys(use.file, model, delta, std::move(given.files[i].keys), options.keys);
    held.push_back({use.file, std::move(delta), use.scale});
  }
  return held;
}

/// `model` with the words of `held`.
Session with_words(diffusion::Model model, GivenFiles given, const std::vector<HeldConcept>& held,
                   const SessionOptions& options) {
  auto tokens = concepts::known_words(model);
  auto guests = add_words(model, tokens, held);
  return {.model = std::move(model),
          .tokens = std::move(tokens),
          .base = options.base,
          .read = options.read,
          .concepts = std::move(given.uses),
          .guests = std::move(guests)};
}

/// `model`, of the hash `hash`, with all concepts in it.
Session furnished(diffusion::Model model, const std::string& hash, GivenFiles given,
                  const SessionOptions& options) {
  for (std::size_t i = 0; i < given.files.size(); ++i) {
    compare_base(given.uses[i].file, given.files[i].delta, hash);
  }
  auto held = hold(model, given, options);
  merge(model, held, options);
  auto session = with_words(std::move(model), std::move(given), held, options);
  session.base_hash = hash;
  if (options.compose != region::Compose::kMerged) session.apart = std::move(held);
  return session;
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
  auto given = read_given(options);
  const bool is_plain = given.files.empty() && options.held.empty();
  auto model = diffusion::Model::load(
      options.base,
      // Weights that are merged into are loaded as they are, and rounded once, after the sum.
      {.dtype = is_plain ? std::optional(options.dtype) : std::nullopt, .read = options.read});
  const auto hash = diffusion::model_hash(model);
  check_hash("the base model " + options.base, options.base_hash, hash);
  return furnished(std::move(model), hash, std::move(given), options);
}

Session open_session(diffusion::Model model, const SessionOptions& options) {
  torch::NoGradGuard no_grad;
  auto given = read_given(options);
  const auto hash = options.base_hash.empty() ? diffusion::model_hash(model) : options.base_hash;
  return furnished(std::move(model), hash, std::move(given), options);
}

Session session_of_shapes(const SessionOptions& options) {
  GivenFiles given{options.concepts, load_concepts(options.concepts, options.keys)};
  auto model = diffusion::Model::shapes(options.base, options.read);
  const auto held = hold(model, given, options);
  for (const auto& one : held) {
    for (const auto& [part, updates] : one.delta.updates) {
      concepts::find_layers(*model.network(part), updates, one.name);
    }
  }
  return with_words(std::move(model), std::move(given), held, options);
}

bool calls(const Session& session, const Session::Guest& guest, const std::string& prompt) {
  if (guest.words.empty()) return !guest.phrase.empty() && has_word(prompt, guest.phrase);
  const auto has = [&](const std::string& word) {
    return session.tokens.knows(word) && has_word(prompt, word);
  };
  return std::any_of(guest.words.begin(), guest.words.end(), has) ||
         std::any_of(guest.aliases.begin(), guest.aliases.end(), has);
}

std::string find_lora(const std::string& name, const std::filesystem::path& folder,
                      const std::string& painted) {
  constexpr std::array<std::string_view, 6> kEndings = {"",     ".safetensors", ".pt",
                                                        ".pth", ".bin",         ".ckpt"};
  const auto said = painted.empty() ? fmt::format("a prompt names <lora:{}>", name)
                                    : fmt::format("{} was painted with the LoRA {}", painted, name);
  // Windows' folders; on Linux a file may be called so all the same.
  const auto slashed = replaced(name, "\\", "/");
  const std::filesystem::path path(slashed);
  if (path.is_absolute() || std::find(path.begin(), path.end(), "..") != path.end()) {
    // A prompt can be somebody else's, and files are the user's own.
    throw Error(ErrorKind::kUsage,
                fmt::format("{}, but a name leads to no other place than --lora-folder and the "
                            "folders in it; give the file with --concept {}",
                            said, name));
  }
  // The folder first: a file of that name in the working folder is there by chance.
  for (const auto& place : {folder / name, folder / path, std::filesystem::path(name), path}) {
    for (const auto ending : kEndings) {
      auto file = place;
      file += ending;
      std::error_code ignored;
      if (std::filesystem::is_regular_file(file, ignored)) return file.lexically_normal().string();
    }
  }
  const bool has_ending = std::any_of(kEndings.begin() + 1, kEndings.end(),
                                      [&](auto ending) { return name.ends_with(ending); });
  throw Error(
      ErrorKind::kUsage,
      fmt::format("{}, but there is no file {}{} in {}; name its folder with "
                  "--lora-folder{}",
                  said, slashed, has_ending ? "" : ".safetensors", folder.string(),
                  painted.empty() ? ", or take brackets for plain text with --plain-text" : ""));
}

void check_words(const Session& session, const region::Scene& scene, bool plain_text) {
  const auto prompts = distinct(region::encoded_prompts_of(scene));
  for (const auto& guest : session.guests) {
    const auto is_called = [&](const std::string& prompt) { return calls(session, guest, prompt); };
    // A LoRA without words acts on every prompt.
    if (guest.words.empty() || std::any_of(prompts.begin(), prompts.end(), is_called)) continue;
    throw Error(
        ErrorKind::kUsage,
        fmt::format("no prompt has a word of the concept {}; write \"{}\" where it shall be",
                    guest.file, fmt::join(guest.words, " ")));
  }
  std::set<std::string> said;
  for (const auto& prompt : prompts) {
    refuse_unknown_words(session, prompt);
    if (plain_text) {  // asked for, so that nothing in it is news but what is lost
      warn_if_cut(session, prompt);
      continue;
    }
    text::parse_weights(prompt);  // throws for what it cannot mean
    for (const auto& sentence : text::foreign_syntax(prompt)) {
      if (said.insert(sentence).second) log::warn(sentence);
    }
  }
}

}  // namespace mos::session
