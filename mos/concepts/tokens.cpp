#include "mos/concepts/tokens.h"

#include <fmt/core.h>

#include <algorithm>
#include <map>

#include "mos/base/error.h"
#include "mos/base/text.h"

namespace mos::concepts {

namespace {

/// The first `<newK>` that the tokenizer does not have.
std::int64_t next_new_index(const text::CLIPTokenizer& tokenizer) {
  std::int64_t k = 0;
  while (tokenizer.token_id(fmt::format("<new{}>", k))) ++k;
  return k;
}

}  // namespace

ConceptTokens ConceptTokens::from_json(const Json& config, std::int64_t layers) {
  ConceptTokens tokens(layers);
  for (const auto& [word, entry] : config.items()) {
    const auto ids = json_required<std::vector<std::int64_t>>(entry, "concept_token_ids");
    const auto names = json_required<std::vector<std::string>>(entry, "concept_token_names");
    const auto rows = static_cast<std::int64_t>(ids.size());
    bool consecutive = !ids.empty() && ids.size() == names.size() && (rows == 1 || rows == layers);
    for (std::int64_t l = 0; consecutive && l < rows; ++l) {
      consecutive = ids[static_cast<std::size_t>(l)] == ids.front() + l;
    }
    if (!consecutive) {
      throw Error(ErrorKind::kFormat,
                  fmt::format("concept word {} has {} token ids and {} names; expected 1 or {} of "
                              "each, ids in sequence",
                              word, ids.size(), names.size(), layers));
    }
    tokens.words_.push_back({word, ids.front(), rows, names});
  }
  return tokens;
}

Json ConceptTokens::to_json() const {
  Json config = Json::object();
  for (const auto& word : words_) {
    Json ids = Json::array();
    for (std::int64_t l = 0; l < word.rows; ++l) ids.push_back(word.first_id + l);
    config[word.word] = {{"concept_token_ids", ids}, {"concept_token_names", word.token_names}};
  }
  return config;
}

void ConceptTokens::add(std::span<const ConceptWord> words, text::CLIPTokenizer& tokenizer,
                        nn::CLIPTextModel& text_encoder) {
  auto rows = text_encoder->concept_rows();
  const auto& table = text_encoder->token_embedding();
  for (const auto& word : words) {
    const auto count = word.rows.size(0);
    if (word.rows.size(1) != table.size(1) || (count != 1 && count != layers_)) {
      throw Error(ErrorKind::kMismatch,
                  fmt::format("concept word {} has {} rows of width {}, but this model has {} "
                              "cross-attention layers and text of width {}; use the base model it "
                              "was tuned on",
                              word.word, count, word.rows.size(1), layers_, table.size(1)));
    }
    const auto known = [&](const BoundWord& other) { return other.word == word.word; };
    if (std::any_of(words_.begin(), words_.end(), known)) {
      throw Error(ErrorKind::kUsage,
                  fmt::format("two concepts use the word {}; rename one of them", word.word));
    }
    BoundWord bound{word.word, tokenizer.vocab_size(), count, {}};
    const auto first = next_new_index(tokenizer);
    for (std::int64_t l = 0; l < count; ++l) {
      bound.token_names.push_back(fmt::format("<new{}>", first + l));
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
  return std::any_of(words_.begin(), words_.end(), [&](const BoundWord& word) {
    return prompt.find(word.word) != std::string_view::npos;
  });
}

std::vector<std::string> ConceptTokens::bind(std::string_view prompt) const {
  std::int64_t prompts = 1;
  for (const auto& word : words_) {
    if (prompt.find(word.word) != std::string_view::npos) prompts = std::max(prompts, word.rows);
  }
  std::vector<std::string> bound(static_cast<std::size_t>(prompts), std::string(prompt));
  for (const auto* word : longest_first()) {
    for (std::size_t l = 0; l < bound.size(); ++l) {
      bound[l] =
          replaced(std::move(bound[l]), word->word, word->token_names[word->rows == 1 ? 0 : l]);
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
