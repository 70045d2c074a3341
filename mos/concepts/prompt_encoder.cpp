#include "mos/concepts/prompt_encoder.h"

#include <fmt/core.h>

#include <algorithm>
#include <map>

#include "mos/base/error.h"
#include "mos/text/prompt_chunks.h"
#include "mos/text/weighted_prompt.h"

namespace mos::concepts {

using torch::Tensor;

namespace {

/// A prompt in the texts of its layers: all have the same weights, and one text serves all layers
/// where no concept word occurs.
struct Chunk {
  std::vector<std::vector<std::int64_t>> ids;  ///< [1 or L][S]
  std::vector<double> weights;                 ///< [S]
};

/// Tokens of `piece` for each layer, without the frame.
std::vector<std::vector<std::int64_t>> words_of(const ConceptTokens& tokens,
                                                const text::CLIPTokenizer& tokenizer,
                                                const std::string& piece) {
  std::vector<std::vector<std::int64_t>> layers;
  for (const auto& bound : tokens.bind(piece)) {
    auto ids = tokenizer.encode(bound);
    layers.emplace_back(ids.begin() + 1, ids.end() - 1);
  }
  return layers;
}

/// The tokens of a part for layer `layer`.
std::vector<text::WeightedToken> tokens_of_layer(
    const std::vector<std::vector<std::vector<std::int64_t>>>& pieces,
    const std::vector<text::WeightedText>& part, std::size_t layer) {
  std::vector<text::WeightedToken> tokens;
  for (std::size_t i = 0; i < part.size(); ++i) {
    const auto& layers = pieces[i];
    for (const auto id : layers[layers.size() == 1 ? 0 : layer]) {
      tokens.push_back({id, part[i].weight});
    }
  }
  return tokens;
}

/// `words` between begin and end, filled up to the encoder's length.
Chunk framed(const text::CLIPTokenizer& tokenizer, const std::vector<text::WeightedToken>& words,
             Chunk chunk) {
  const auto length = static_cast<std::size_t>(tokenizer.model_max_length());
  std::vector<std::int64_t> ids = {tokenizer.bos_id()};
  std::vector<double> weights = {1.0};
  for (const auto& [id, weight] : words) {
    ids.push_back(id);
    weights.push_back(weight);
  }
  ids.push_back(tokenizer.eos_id());
  ids.resize(length, tokenizer.pad_id());
  weights.resize(length, 1.0);
  chunk.ids.push_back(std::move(ids));
  chunk.weights = std::move(weights);
  return chunk;
}

/// Adds the chunks of one part between BREAKs.
void add_part(const ConceptTokens& tokens, const text::CLIPTokenizer& tokenizer,
              const std::vector<text::WeightedText>& part, std::vector<Chunk>& chunks) {
  std::vector<std::vector<std::vector<std::int64_t>>> pieces;
  std::size_t layers = 1;
  for (const auto& piece : part) {
    pieces.push_back(words_of(tokens, tokenizer, piece.text));
    layers = std::max(layers, pieces.back().size());
  }
  const auto comma = tokenizer.encode_words(",");
  const auto length = static_cast<std::size_t>(tokenizer.model_max_length()) - 2;
  const auto first = chunks.size();
  for (std::size_t l = 0; l < layers; ++l) {
    // Rows of a concept are other ids of the same number, so every layer is cut at the same places.
    const auto split = text::split_chunks(tokens_of_layer(pieces, part, l),
                                          comma.empty() ? -1 : comma.front(), length);
    chunks.resize(first + split.size());
    for (std::size_t c = 0; c < split.size(); ++c) {
      auto& chunk = chunks[first + c];
      chunk = framed(tokenizer, split[c], std::move(chunk));
    }
  }
}

std::vector<Chunk> chunks_of_prompt(const ConceptTokens& tokens,
                                    const text::CLIPTokenizer& tokenizer, std::string_view prompt) {
  std::vector<Chunk> chunks;
  for (const auto& part : text::parse_weights(prompt)) add_part(tokens, tokenizer, part, chunks);
  return chunks;
}

/// A1111's emphasis: states [.., S, C] times the weights, with the mean that they had.
Tensor weighted(const Tensor& states, const std::vector<double>& weights) {
  if (std::all_of(weights.begin(), weights.end(), [](double w) { return w == 1.0; })) return states;
  const auto factors =
      torch::tensor(weights, torch::kFloat64).to(states.device(), torch::kFloat32).view({1, -1, 1});
  const auto before = states.to(torch::kFloat32);
  const auto after = before * factors;
  const auto mean = [](const Tensor& x) { return x.mean({1, 2}, /*keepdim=*/true); };
  return (after * (mean(before) / mean(after))).to(states.scalar_type());
}

/// Runs every distinct text once.
class ChunkEncoder {
 public:
  /// Returns the most texts that a chunk has.
  std::size_t add(const std::vector<Chunk>& chunks) {
    std::size_t layers = 1;
    for (const auto& chunk : chunks) {
      layers = std::max(layers, chunk.ids.size());
      for (const auto& ids : chunk.ids) {
        const auto place = static_cast<std::int64_t>(texts_.size());
        if (places_.try_emplace(ids, place).second) {
          texts_.push_back(torch::tensor(ids, torch::kInt64));
        }
      }
    }
    return layers;
  }

  void run(const diffusion::TextTower& tower, std::int64_t clip_skip) {
    states_ = encode_ids(tower, torch::stack(texts_), clip_skip);
  }

  /// [1,k·S,C], or [1,L,k·S,C] for more layers than one.
  nn::Conditioning states_of(const std::vector<Chunk>& chunks, std::size_t layers) const {
    std::vector<Tensor> parts;
    for (const auto& chunk : chunks) {
      std::vector<std::int64_t> places;
      for (std::size_t l = 0; l < layers; ++l) {
        places.push_back(places_.at(chunk.ids[chunk.ids.size() == 1 ? 0 : l]));
      }
      const auto index = torch::tensor(places, torch::kInt64).to(states_.context.device());
      parts.push_back(weighted(states_.context.index_select(0, index), chunk.weights));
    }
    const auto joined = torch::cat(parts, 1);  // [1 or L, k·S, C]
    nn::Conditioning text(layers == 1 ? joined : joined.unsqueeze(0));
    if (states_.pooled.defined()) {
      text.pooled = states_.pooled.narrow(0, places_.at(chunks.front().ids.front()), 1);
    }
    return text;
  }

 private:
  std::map<std::vector<std::int64_t>, std::int64_t> places_;
  std::vector<Tensor> texts_;
  nn::Conditioning states_;  ///< [texts,S,C]
};

/// The whole prompt as words, cut or filled up to the encoder's length.
Chunk plain_chunk(const ConceptTokens& tokens, const text::CLIPTokenizer& tokenizer,
                  const std::string& prompt) {
  Chunk whole;
  for (const auto& bound : tokens.bind(prompt)) {
    whole.ids.push_back(tokenizer.encode_padded(bound));
  }
  whole.weights.assign(whole.ids.front().size(), 1.0);
  return whole;
}

}  // namespace

std::int64_t chunks_of(const ConceptTokens& tokens, const text::CLIPTokenizer& tokenizer,
                       std::string_view prompt, const PromptOptions& options) {
  if (options.plain_text) return 1;
  return static_cast<std::int64_t>(chunks_of_prompt(tokens, tokenizer, prompt).size());
}

std::vector<std::int64_t> tokens_in_context(const ConceptTokens& tokens,
                                            const text::CLIPTokenizer& tokenizer,
                                            const std::string& prompt,
                                            const PromptOptions& options) {
  if (options.plain_text) return plain_chunk(tokens, tokenizer, prompt).ids.front();
  std::vector<std::int64_t> all;
  for (const auto& chunk : chunks_of_prompt(tokens, tokenizer, prompt)) {
    all.insert(all.end(), chunk.ids.front().begin(), chunk.ids.front().end());
  }
  return all;
}

std::vector<std::int64_t> columns_of(const ConceptTokens& tokens,
                                     const text::CLIPTokenizer& tokenizer,
                                     const std::vector<std::int64_t>& context,
                                     const std::string& phrase) {
  const auto words = words_of(tokens, tokenizer, phrase).front();
  std::vector<std::int64_t> columns;
  const auto found = std::search(context.begin(), context.end(), words.begin(), words.end());
  if (words.empty() || found == context.end()) return columns;
  for (std::size_t i = 0; i < words.size(); ++i) {
    columns.push_back(found - context.begin() + static_cast<std::int64_t>(i));
  }
  return columns;
}

bool has_syntax(const ConceptTokens& tokens, const text::CLIPTokenizer& tokenizer,
                std::string_view prompt) {
  return !text::is_plain(text::parse_weights(prompt), prompt) ||
         chunks_of(tokens, tokenizer, prompt, {}) > 1;
}

nn::Conditioning encode_ids(const diffusion::TextTower& tower, const Tensor& ids,
                            std::int64_t clip_skip) {
  if (clip_skip <= 1) return tower.encode(ids);
  auto encoder = tower.encoder;
  const auto output = encoder->forward(ids.to(tower.device()));
  const auto layers = static_cast<std::int64_t>(output.hidden.size());
  const auto skipped = tower.gives.skipped_layers + clip_skip - 1;
  if (skipped >= layers) {
    throw Error(ErrorKind::kUsage, fmt::format("clip_skip is {}, but this model's text encoder has "
                                               "{} layers",
                                               clip_skip, layers));
  }
  auto states = output.hidden[static_cast<std::size_t>(layers - 1 - skipped)];
  if (tower.gives.skipped_layers == 0) {
    const auto norm = encoder->named_parameters();
    const auto of_norm = [&norm](const char* name) {
      return norm[std::string("text_model.final_layer_norm.") + name].to(torch::kFloat32);
    };
    states = torch::layer_norm(states.to(torch::kFloat32), {states.size(-1)}, of_norm("weight"),
                               of_norm("bias"), encoder->config().layer_norm_eps)
                 .to(states.scalar_type());
  }
  nn::Conditioning text(states);
  if (tower.gives.pooled) text.pooled = output.pooler_output;
  return text;
}

namespace {

/// What one tower gives for every prompt.
std::vector<nn::Conditioning> encode_tower(const ConceptTokens& tokens,
                                           const diffusion::TextTower& tower,
                                           std::span<const std::string> prompts,
                                           const PromptOptions& options) {
  const auto& tokenizer = tower.tokenizer;
  std::vector<std::vector<Chunk>> all;
  for (const auto& prompt : prompts) {
    all.push_back(options.plain_text ? std::vector<Chunk>{plain_chunk(tokens, tokenizer, prompt)}
                                     : chunks_of_prompt(tokens, tokenizer, prompt));
  }
  const auto nothing = framed(tokenizer, {}, {});
  for (std::size_t i = 0; i < all.size(); i += 2) {
    const auto longer = std::max(all[i].size(), all[i + 1].size());
    all[i].resize(longer, nothing);
    all[i + 1].resize(longer, nothing);
  }
  ChunkEncoder encoder;
  std::size_t layers = 1;
  for (const auto& chunks : all) layers = std::max(layers, encoder.add(chunks));
  encoder.run(tower, options.clip_skip);
  std::vector<nn::Conditioning> texts;
  for (const auto& chunks : all) texts.push_back(encoder.states_of(chunks, layers));
  return texts;
}

}  // namespace

std::vector<nn::Conditioning> encode_pairs(const ConceptTokens& tokens,
                                           std::span<const diffusion::TextTower> towers,
                                           std::span<const std::string> prompts,
                                           const PromptOptions& options) {
  if (prompts.size() % 2 != 0) throw Error(ErrorKind::kUsage, "prompts come in pairs");
  const auto asks = [&](const std::string& prompt) {
    return !options.plain_text && has_syntax(tokens, towers.front().tokenizer, prompt);
  };
  std::vector<nn::Conditioning> texts;
  if (options.clip_skip == 1 && std::none_of(prompts.begin(), prompts.end(), asks)) {
    const auto all = encode_prompts(tokens, towers, prompts);
    for (std::int64_t i = 0; i < all.size(); ++i) texts.push_back(all.narrow(i, 1));
    return texts;
  }
  for (const auto& tower : towers) {
    auto own = encode_tower(tokens, tower, prompts, options);
    if (texts.empty()) {
      texts = std::move(own);
      continue;
    }
    for (std::size_t i = 0; i < texts.size(); ++i) {
      texts[i].context = torch::cat({texts[i].context, own[i].context}, -1);
      if (own[i].pooled.defined()) texts[i].pooled = std::move(own[i].pooled);
    }
  }
  return texts;
}

}  // namespace mos::concepts
