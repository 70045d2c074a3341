#include "studio.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <set>
#include <system_error>
#include <utility>

#include "mos/base/error.h"
#include "mos/base/log.h"
#include "mos/base/sha256.h"
#include "mos/base/text.h"
#include "mos/base/text_distance.h"
#include "mos/concepts/concept_file.h"
#include "mos/concepts/lora.h"
#include "mos/text/prompt_syntax.h"

namespace mos::app {
namespace {

/// Of the file, and of those that were read with it.
std::string hash_of(const concepts::ConceptFile& file, const std::string& path) {
  if (file.companions.empty()) return file_hash(path);
  auto all = file_hash(path);
  for (const auto& beside : file.companions) all += file_hash(beside);
  Sha256 sha;
  sha.update(all.data(), all.size());
  return sha.hex();
}

std::vector<concepts::ConceptFile> load_concepts(std::vector<ConceptUse>& uses,
                                                 const KeyOptions& keys) {
  std::vector<concepts::ConceptFile> files;
  for (auto& use : uses) {
    files.push_back(concepts::read_concept_file(use.file, keys.unexpected));
    const auto hash = hash_of(files.back(), use.file);
    check_hash(use.file, use.sha256, hash);
    use.sha256 = hash;
  }
  return files;
}

/// A concept remembers the base it was tuned on; another base of the same shape is only warned of.
void compare_base(const concepts::ConceptDelta& delta, const std::string& file,
                  const std::string& base_hash) {
  const auto tuned_on = delta.metadata.find("base_model");
  if (tuned_on == delta.metadata.end() || tuned_on->second == base_hash) return;
  log::warn(fmt::format("{} was tuned on another base model than this one", file));
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

void refuse_unknown_words(const Studio& studio, const std::string& prompt) {
  std::vector<std::string> known;
  for (const auto& word : studio.tokens.words()) known.push_back(word.word);
  for (const auto& word : words_in(prompt)) {
    if (studio.tokens.knows(word) || studio.model.tokenizer.token_id(word)) continue;
    throw Error(ErrorKind::kUsage,
                fmt::format("the prompt \"{}\" has the word {}, which no given concept has{}",
                            prompt, word, did_you_mean(word, known)));
  }
}

/// Encoders read only the first tokens of a prompt; what is behind them has no effect.
void warn_if_cut(const Studio& studio, const std::string& prompt) {
  const auto& tokenizer = studio.model.tokenizer;
  const auto bound = studio.tokens.bind(prompt);
  const auto tokens = static_cast<std::int64_t>(tokenizer.encode(bound.front()).size());
  if (tokens <= tokenizer.model_max_length()) return;
  log::warn(fmt::format("the prompt \"{}\" has {} tokens, of which this model reads {}", prompt,
                        tokens, tokenizer.model_max_length()));
}

ConceptUse parse_concept(const std::string& text, double default_scale) {
  const auto equals = text.rfind('=');
  std::error_code ignored;
  if (equals == std::string::npos || std::filesystem::exists(text, ignored)) {
    return {text, "", default_scale};
  }
  const auto scale = detail::parse_number("concept", text.substr(equals + 1));
  return {text.substr(0, equals), "", scale};
}

}  // namespace

void check_hash(const std::string& what, const std::string& expected, const std::string& actual) {
  if (expected.empty() || expected == actual) return;
  throw Error(ErrorKind::kMismatch,
              fmt::format("{} has changed since the picture was made: its SHA-256 is {}…, the "
                          "record says {}…; name the former one",
                          what, actual.substr(0, 12), expected.substr(0, 12)));
}

std::vector<ConceptUse> take_concepts(Flags& flags, double default_scale) {
  std::vector<ConceptUse> uses;
  const auto given = flags.take("concept");
  for (const auto& text : detail::split_paths(given.value_or(""))) {
    uses.push_back(parse_concept(text, default_scale));
  }
  if (given && uses.empty()) throw Error(ErrorKind::kUsage, "--concept needs a file");
  return uses;
}

Studio open_studio(const StudioOptions& options) {
  torch::NoGradGuard no_grad;
  auto uses = options.concepts;
  auto files = load_concepts(uses, options.keys);
  auto model = diffusion::StableDiffusion::load(
      options.base,
      {.dtype = files.empty() ? std::optional(options.dtype) : std::nullopt, .read = options.read});
  const auto hash = diffusion::model_hash(model);
  check_hash("the base model " + options.base, options.base_hash, hash);

  std::vector<concepts::ScaledLora> of_text_encoder, of_unet;
  for (std::size_t i = 0; i < files.size(); ++i) {
    auto& delta = files[i].delta;
    compare_base(delta, uses[i].file, hash);
    settle_keys(uses[i].file, model, delta, std::move(files[i].keys), options.keys);
    of_text_encoder.push_back({&delta.text_encoder, uses[i].scale, uses[i].file});
    of_unet.push_back({&delta.unet, uses[i].scale, uses[i].file});
  }
  concepts::merge_loras(*model.text_encoder, of_text_encoder, options.dtype);
  concepts::merge_loras(*model.unet, of_unet, options.dtype);
  model.text_encoder->to(options.device, options.dtype);
  model.unet->to(options.device, options.dtype);
  model.vae->to(options.device, options.dtype);

  auto tokens = concepts::known_words(model);
  std::vector<Studio::Guest> guests;
  for (std::size_t i = 0; i < files.size(); ++i) {
    tokens.add(files[i].delta.words, model.tokenizer, model.text_encoder);
    guests.push_back({uses[i].file, {}});
    for (const auto& word : files[i].delta.words) guests.back().words.push_back(word.word);
    for (const auto& word : files[i].delta.words) guests.back().aliases.push_back(word.alias);
  }
  return {std::move(model), std::move(tokens), hash, std::move(uses), std::move(guests)};
}

void check_words(const Studio& studio, const region::Scene& scene) {
  std::vector<std::string> prompts = {scene.prompt, scene.negative_prompt};
  for (const auto& region : scene.regions) {
    prompts.push_back(region.prompt);
    prompts.push_back(region.negative_prompt);
  }
  for (const auto& guest : studio.guests) {
    const auto is_called = [&](const std::string& prompt) {
      const auto has = [&](const std::string& word) {
        return studio.tokens.knows(word) && has_word(prompt, word);
      };
      return std::any_of(guest.words.begin(), guest.words.end(), has) ||
             std::any_of(guest.aliases.begin(), guest.aliases.end(), has);
    };
    if (guest.words.empty() || std::any_of(prompts.begin(), prompts.end(), is_called)) continue;
    throw Error(ErrorKind::kUsage,
                fmt::format("no prompt has a word of the concept {}; write {} where it shall be",
                            guest.file, fmt::join(guest.words, " ")));
  }
  std::set<std::string> said;
  for (const auto& prompt : prompts) {
    refuse_unknown_words(studio, prompt);
    warn_if_cut(studio, prompt);
    for (const auto& sentence : text::foreign_syntax(prompt)) {
      if (said.insert(sentence).second) log::warn(sentence);
    }
  }
}

}  // namespace mos::app
