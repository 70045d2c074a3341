#include "mos/concepts/tokens.h"

#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <set>

#include "mos/base/error.h"
#include "mos/base/text.h"
#include "mos/checkpoint/family.h"
#include "mos/diffusion/model.h"
#include "mos/text/byte_pairs.h"
#include "mos/text/concept_word.h"

namespace mos::concepts {

namespace {

/// Of new_concept_cfg.json, beside the authors' entries: tokens of the word in a prompt, if not 1.
constexpr const char* kVectors = "vectors";

/// Names of `count` tokens that nobody else has: no token, and no word that a prompt could have.
std::vector<std::string> free_names(const text::CLIPTokenizer& tokenizer,
                                    const std::set<std::string>& words, std::int64_t count) {
  std::vector<std::string> names;
  for (std::int64_t k = 0; static_cast<std::int64_t>(names.size()) < count; ++k) {
    auto name = fmt::format("<new{}>", k);
    if (!tokenizer.is_taken(name) && !words.contains(name)) names.push_back(std::move(name));
  }
  return names;
}

/// `text` with every `word` in its words replaced by `tokens`.
text::PiecedText with_tokens(const text::PiecedText& text, std::string_view word,
                             const text::PiecedText& tokens) {
  text::PiecedText result;
  for (const auto& piece : text) {
    std::size_t copied = 0;
    const std::string_view words = piece.words;
    for (auto at = find_word(words, word); at != words.npos; at = find_word(words, word, copied)) {
      if (at > copied) result.push_back({std::string(words.substr(copied, at - copied))});
      result.insert(result.end(), tokens.begin(), tokens.end());
      copied = at + word.size();
    }
    if (piece.token || copied < words.size()) {
      result.push_back({std::string(words.substr(copied)), piece.token});
    }
  }
  return result;
}

}  // namespace

text::PiecedText BoundWord::tokens_of_layer(std::int64_t l) const {
  const auto first = first_id + (layers() == 1 ? 0 : l * vectors);
  text::PiecedText tokens;
  for (std::int64_t k = 0; k < vectors; ++k) tokens.push_back({"", first + k});
  return tokens;
}

ConceptTokens ConceptTokens::from_json(const Json& config, std::int64_t layers) {
  ConceptTokens tokens(layers);
  for (const auto& [word, entry] : config.items()) {
    if (const auto fault = text::word_fault(word); !fault.empty()) {
      throw Error(ErrorKind::kFormat,
                  fmt::format("the concept word \"{}\" of the model cannot stand in a prompt: {}",
                              printable(word), fault));
    }
    const auto ids = json_required<std::vector<std::int64_t>>(entry, "concept_token_ids");
    const auto names = json_required<std::vector<std::string>>(entry, "concept_token_names");
    const auto vectors = json_value<std::int64_t>(entry, kVectors, 1);
    const auto rows = static_cast<std::int64_t>(ids.size());
    bool consecutive = !ids.empty() && ids.size() == names.size() && vectors > 0 &&
                       vectors <= rows && (rows == vectors || rows == vectors * layers) &&
                       ids.front() >= 0 && ids.front() <= text::kLargestTokenId;
    for (std::int64_t i = 0; consecutive && i < rows; ++i) {
      consecutive = ids[static_cast<std::size_t>(i)] == ids.front() + i;
    }
    if (!consecutive) {
      throw Error(
          ErrorKind::kFormat,
          fmt::format("concept word {} has {} token ids and {} names; expected one of each "
                      "for every token of it, or for every token and each of {} layers, ids "
                      "in sequence",
                      printable(word), ids.size(), names.size(), layers));
    }
    tokens.words_.push_back({word, ids.front(), rows, names, vectors});
  }
  return tokens;
}

Json ConceptTokens::to_json() const {
  Json config = Json::object();
  for (const auto& word : words_) {
    Json ids = Json::array();
    for (std::int64_t i = 0; i < word.rows; ++i) ids.push_back(word.first_id + i);
    config[word.word] = {{"concept_token_ids", ids}, {"concept_token_names", word.token_names}};
    if (word.vectors > 1) config[word.word][kVectors] = word.vectors;
  }
  return config;
}

void ConceptTokens::withdraw_from(text::CLIPTokenizer& tokenizer) const {
  for (const auto& word : words_) {
    for (const auto& name : word.token_names) tokenizer.withdraw_token(name);
  }
}

void ConceptTokens::check_fits(const ConceptWord& word, const diffusion::TextTower& tower) const {
  const auto rows = word.rows.of(tower.part);
  if (!rows.defined()) {
    throw Error(ErrorKind::kMismatch,
                fmt::format("concept word {} has no rows for the {} of this model; use the base "
                            "model it was tuned on",
                            word.word, name_of(tower.part)));
  }
  const auto count = rows.size(0);
  const bool layers_fit =
      count == word.layers() * word.vectors && (word.layers() == 1 || word.layers() == layers_);
  if (rows.size(1) == tower.width() && layers_fit) return;
  throw Error(ErrorKind::kMismatch,
              fmt::format("concept word {} has {} rows of width {} (for {}), but this model has {} "
                          "cross-attention layers and text of width {}; use the base model it "
                          "was tuned on",
                          word.word, count, rows.size(1),
                          checkpoint::family_of_text_width(rows.size(1)), layers_, tower.width()));
}

void ConceptTokens::check_new(const ConceptWord& word) const {
  for (const auto& name : {word.word, word.alias}) {
    const auto fault = name.empty() && !word.word.empty() ? "" : text::word_fault(name);
    if (fault.empty()) continue;
    throw Error(
        ErrorKind::kUsage,
        fmt::format("the concept word \"{}\" cannot stand in a prompt: {}; name it anew with "
                    "mos convert FILE --word \"OLD=NEW\"",
                    printable(name), fault));
  }
  const auto known = [&](const BoundWord& other) { return other.word == word.word; };
  if (std::any_of(words_.begin(), words_.end(), known)) {
    throw Error(ErrorKind::kUsage,
                fmt::format("two concepts use the word {0}; give it another name in one of the "
                            "files: mos fuse FILE --method weight --rename \"{0}=<other>\" "
                            "--lora NEW.safetensors",
                            word.word));
  }
}

namespace {

/// Behind the rows that the encoder has.
void append_rows(diffusion::TextTower& tower, const TowerRows& rows) {
  const auto own = rows.of(tower.part).to(tower.device(), torch::kFloat32);
  const auto& former = tower.encoder->concept_rows();
  tower.encoder->set_concept_rows(former.defined() ? torch::cat({former, own}) : own);
}

}  // namespace

void ConceptTokens::add(std::span<const ConceptWord> words,
                        std::span<diffusion::TextTower> towers) {
  std::set<std::string> spelled;  // copies: words_ moves its own when it grows
  for (const auto& word : words) spelled.insert({word.word, word.alias});
  for (const auto& word : words_) spelled.insert({word.word, word.alias});
  for (const auto& word : words) {
    for (const auto& tower : towers) check_fits(word, tower);
    check_new(word);
    const auto& tokenizer = towers.front().tokenizer;
    BoundWord bound{.word = word.word,
                    .first_id = tokenizer.vocab_size(),
                    .rows = word.rows.count(),
                    .token_names = free_names(tokenizer, spelled, word.rows.count()),
                    .vectors = word.vectors,
                    .alias = word.alias};
    for (auto& tower : towers) {
      for (const auto& name : bound.token_names) tower.tokenizer.reserve_token(name);
      append_rows(tower, word.rows);
    }
    words_.push_back(std::move(bound));
  }
}

std::vector<ConceptTokens::Spelling> ConceptTokens::spellings() const {
  std::map<std::string_view, int> uses;
  for (const auto& word : words_) {
    ++uses[word.word];
    ++uses[word.alias];
  }
  std::vector<Spelling> all;
  for (const auto& word : words_) {
    if (!word.word.empty()) all.push_back({word.word, &word});
    if (!word.alias.empty() && uses[word.alias] == 1) all.push_back({word.alias, &word});
  }
  std::stable_sort(all.begin(), all.end(), [](const Spelling& a, const Spelling& b) {
    return a.text.size() > b.text.size();
  });
  return all;
}

bool ConceptTokens::knows(std::string_view word) const {
  const auto all = spellings();
  return std::any_of(all.begin(), all.end(),
                     [&](const Spelling& spelling) { return spelling.text == word; });
}

std::vector<text::PiecedText> ConceptTokens::bind(std::string_view prompt) const {
  const auto all = spellings();
  std::int64_t prompts = 1;
  for (const auto& [text, word] : all) {
    if (has_word(prompt, text)) prompts = std::max(prompts, word->layers());
  }
  const text::PiecedText whole = {text::TextPiece{.words = std::string(prompt)}};
  std::vector<text::PiecedText> bound(static_cast<std::size_t>(prompts), whole);
  for (const auto& [text, word] : all) {
    for (std::size_t l = 0; l < bound.size(); ++l) {
      bound[l] = with_tokens(bound[l], text, word->tokens_of_layer(static_cast<std::int64_t>(l)));
    }
  }
  return bound;
}

ConceptTokens known_words(diffusion::Model& model) {
  const auto texts = model.unet->text_slices().count;
  if (model.concepts.is_null()) return ConceptTokens(texts);
  auto tokens = ConceptTokens::from_json(model.concepts, texts);
  for (auto& tower : model.towers) tokens.withdraw_from(tower.tokenizer);
  return tokens;
}

bool ConceptTokens::is_concept_token(std::int64_t id) const {
  return std::any_of(words_.begin(), words_.end(), [id](const BoundWord& word) {
    return id >= word.first_id && id < word.first_id + word.rows;
  });
}

nn::Conditioning encode_prompts(const ConceptTokens& tokens,
                                std::span<const diffusion::TextTower> towers,
                                std::span<const std::string> prompts) {
  std::vector<text::PiecedText> texts;  // every distinct text once
  std::map<text::PiecedText, std::int64_t> place;
  std::vector<std::vector<std::int64_t>> wanted;  // for each prompt the places of its texts
  bool layerwise = false;
  for (const auto& prompt : prompts) {
    wanted.emplace_back();
    for (auto& text : tokens.bind(prompt)) {
      const auto [entry, fresh] = place.try_emplace(text, static_cast<std::int64_t>(texts.size()));
      if (fresh) texts.push_back(text);
      wanted.back().push_back(entry->second);
    }
    layerwise = layerwise || wanted.back().size() > 1;
  }
  const auto states = diffusion::encode_texts(towers, texts);  // of T texts

  const auto count = layerwise ? tokens.layers() : 1;
  std::vector<std::int64_t> places, first_places;
  for (const auto& of_prompt : wanted) {
    first_places.push_back(of_prompt.front());
    for (std::int64_t l = 0; l < count; ++l) {
      places.push_back(of_prompt[of_prompt.size() == 1 ? 0 : static_cast<std::size_t>(l)]);
    }
  }
  const auto picked = [&](const torch::Tensor& all, const std::vector<std::int64_t>& which) {
    return all.index_select(0, torch::tensor(which, torch::kInt64).to(all.device()));
  };
  nn::Conditioning result(picked(states.context, places));  // [B·count,S,C]
  if (layerwise) {
    const auto batch = static_cast<std::int64_t>(prompts.size());
    result.context = result.context.unflatten(0, {batch, count});
  }
  // Pooled text is one for the whole U-Net: that of the first layer's text.
  if (states.pooled.defined()) result.pooled = picked(states.pooled, first_places);
  return result;
}

}  // namespace mos::concepts
