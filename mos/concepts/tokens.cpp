#include "mos/concepts/tokens.h"

#include <fmt/core.h>

#include <algorithm>
#include <map>

#include "mos/base/error.h"
#include "mos/base/text.h"
#include "mos/text/byte_pairs.h"

namespace mos::concepts {

namespace {

/// Of new_concept_cfg.json, beside the authors' entries: tokens of the word in a prompt, if not 1.
constexpr const char* kVectors = "vectors";

/// The first `<newK>` that the tokenizer does not have.
std::int64_t next_new_index(const text::CLIPTokenizer& tokenizer) {
  std::int64_t k = 0;
  while (tokenizer.token_id(fmt::format("<new{}>", k))) ++k;
  return k;
}

}  // namespace

std::string BoundWord::tokens_of_layer(std::int64_t l) const {
  const auto first = layers() == 1 ? 0 : l * vectors;
  std::string text;
  for (std::int64_t k = first; k < first + vectors; ++k) {
    text += (text.empty() ? "" : " ") + token_names[static_cast<std::size_t>(k)];
  }
  return text;
}

ConceptTokens ConceptTokens::from_json(const Json& config, std::int64_t layers) {
  ConceptTokens tokens(layers);
  for (const auto& [word, entry] : config.items()) {
    if (word.empty()) throw Error(ErrorKind::kFormat, "a concept word of the model has no text");
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

void ConceptTokens::check_new(const ConceptWord& word, std::int64_t width) const {
  const auto count = word.rows.size(0);
  const bool layers_fit =
      count == word.layers() * word.vectors && (word.layers() == 1 || word.layers() == layers_);
  if (word.rows.size(1) != width || !layers_fit) {
    throw Error(ErrorKind::kMismatch,
                fmt::format("concept word {} has {} rows of width {}, but this model has {} "
                            "cross-attention layers and text of width {}; use the base model it "
                            "was tuned on",
                            word.word, count, word.rows.size(1), layers_, width));
  }
  if (word.word.empty()) {
    throw Error(ErrorKind::kUsage, "a concept word has no text, so no prompt can hold it; name it");
  }
  const auto known = [&](const BoundWord& other) { return other.word == word.word; };
  if (std::any_of(words_.begin(), words_.end(), known)) {
    throw Error(ErrorKind::kUsage,
                fmt::format("two concepts use the word {}; rename one of them", word.word));
  }
}

void ConceptTokens::add(std::span<const ConceptWord> words, text::CLIPTokenizer& tokenizer,
                        nn::CLIPTextModel& text_encoder) {
  auto rows = text_encoder->concept_rows();
  const auto& table = text_encoder->token_embedding();
  for (const auto& word : words) {
    check_new(word, table.size(1));
    BoundWord bound{.word = word.word,
                    .first_id = tokenizer.vocab_size(),
                    .rows = word.rows.size(0),
                    .token_names = {},
                    .vectors = word.vectors};
    const auto first = next_new_index(tokenizer);
    for (std::int64_t i = 0; i < bound.rows; ++i) {
      bound.token_names.push_back(fmt::format("<new{}>", first + i));
      tokenizer.add_token(bound.token_names.back());
    }
    words_.push_back(std::move(bound));
    const auto own = word.rows.to(table.device(), torch::kFloat32);
    rows = rows.defined() ? torch::cat({rows, own}) : own;
  }
  text_encoder->set_concept_rows(rows);
}

std::vector<const BoundWord*> ConceptTokens::longest_first() const {
  std::vector<const BoundWord*> sorted;
  for (const auto& word : words_) sorted.push_back(&word);
  std::stable_sort(sorted.begin(), sorted.end(), [](const BoundWord* a, const BoundWord* b) {
    return a->word.size() > b->word.size();
  });
  return sorted;
}

bool ConceptTokens::mentions(std::string_view prompt) const {
  return std::any_of(words_.begin(), words_.end(),
                     [&](const BoundWord& word) { return has_word(prompt, word.word); });
}

std::vector<std::string> ConceptTokens::bind(std::string_view prompt) const {
  std::int64_t prompts = 1;
  for (const auto& word : words_) {
    if (has_word(prompt, word.word)) prompts = std::max(prompts, word.layers());
  }
  std::vector<std::string> bound(static_cast<std::size_t>(prompts), std::string(prompt));
  for (const auto* word : longest_first()) {
    for (std::size_t l = 0; l < bound.size(); ++l) {
      bound[l] =
          replaced_word(bound[l], word->word, word->tokens_of_layer(static_cast<std::int64_t>(l)));
    }
  }
  return bound;
}

bool ConceptTokens::is_concept_token(std::int64_t id) const {
  return std::any_of(words_.begin(), words_.end(), [id](const BoundWord& word) {
    return id >= word.first_id && id < word.first_id + word.rows;
  });
}

torch::Tensor token_ids(const text::CLIPTokenizer& tokenizer, std::span<const std::string> texts,
                        Padding padding) {
  std::vector<torch::Tensor> rows;
  for (const auto& text : texts) {
    const auto ids =
        padding == Padding::kNone ? tokenizer.encode(text) : tokenizer.encode_padded(text);
    rows.push_back(torch::tensor(ids, torch::kInt64));
  }
  return torch::stack(rows);
}

torch::Tensor encode_prompts(const ConceptTokens& tokens, const text::CLIPTokenizer& tokenizer,
                             nn::CLIPTextModel& text_encoder,
                             std::span<const std::string> prompts) {
  std::vector<std::string> texts;  // every distinct text once
  std::map<std::string, std::int64_t> place;
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
  const auto device = text_encoder->token_embedding().device();
  const auto states =
      text_encoder(token_ids(tokenizer, texts).to(device)).last_hidden_state;  // [T,S,C]

  const auto count = layerwise ? tokens.layers() : 1;
  std::vector<std::int64_t> places;
  for (const auto& of_prompt : wanted) {
    for (std::int64_t l = 0; l < count; ++l) {
      places.push_back(of_prompt[of_prompt.size() == 1 ? 0 : static_cast<std::size_t>(l)]);
    }
  }
  const auto index = torch::tensor(places, torch::kInt64).to(device);
  auto picked = states.index_select(0, index);  // [B·count,S,C]
  if (!layerwise) return picked;
  return picked.unflatten(0, {static_cast<std::int64_t>(prompts.size()), count});
}

torch::Tensor as_layerwise(const torch::Tensor& context, std::int64_t layers) {
  return context.dim() == 4 ? context : context.unsqueeze(1).expand({-1, layers, -1, -1});
}

}  // namespace mos::concepts
