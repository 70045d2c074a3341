#include "mos/diffusion/text_tower.h"

namespace mos::diffusion {

using torch::Tensor;

namespace {

/// Without those that the encoder does not read; the end token stays last.
std::vector<std::int64_t> cut(const text::CLIPTokenizer& tokenizer, std::vector<std::int64_t> ids) {
  const auto most = static_cast<std::size_t>(tokenizer.model_max_length());
  if (ids.size() <= most) return ids;
  ids.resize(most);
  // What is pooled, and what the last position says, is the end token's.
  ids.back() = tokenizer.eos_id();
  return ids;
}

template <class Text>
Tensor ids_of(const text::CLIPTokenizer& tokenizer, std::span<const Text> texts, Padding padding) {
  std::vector<Tensor> rows;
  for (const auto& text : texts) {
    auto ids =
        padding == Padding::kToMaxLength ? tokenizer.encode_padded(text) : tokenizer.encode(text);
    if (padding == Padding::kCut) ids = cut(tokenizer, std::move(ids));
    rows.push_back(torch::tensor(ids, torch::kInt64));
  }
  // Without padding all texts must have one length; whoever asks for that has one text.
  return torch::stack(rows);
}

template <class Text>
nn::Conditioning encoded(std::span<const TextTower> towers, std::span<const Text> texts,
                         Padding padding) {
  nn::Conditioning all;
  for (const auto& tower : towers) {
    auto own = tower.encode(ids_of(tower.tokenizer, texts, padding));
    all.context =
        // Stable Diffusion XL: the towers' channels stand side by side, and the last tower's pooled
        // text counts.
        all.context.defined() ? torch::cat({all.context, own.context}, 2) : std::move(own.context);
    if (own.pooled.defined()) all.pooled = std::move(own.pooled);
  }
  return all;
}

}  // namespace

torch::Device TextTower::device() const {
  auto handle = encoder;
  return handle->token_embedding().device();
}

nn::Conditioning TextTower::encode(const Tensor& ids) const {
  auto handle = encoder;
  // Ids come from the CPU; where the encoder is elsewhere, nobody waits for the copy.
  const auto output = handle->forward(ids.to(device(), ids.scalar_type(), /*non_blocking=*/true));
  const auto layers = static_cast<std::int64_t>(output.hidden.size());
  TORCH_CHECK(gives.skipped_layers >= 0 && gives.skipped_layers < layers, "cannot skip ",
              gives.skipped_layers, " of ", layers, " layers");
  nn::Conditioning text(
      gives.skipped_layers == 0
          ? output.last_hidden_state
          : output.hidden[static_cast<std::size_t>(layers - 1 - gives.skipped_layers)]);
  if (gives.pooled) text.pooled = output.pooler_output;
  return text;
}

Tensor token_ids(const text::CLIPTokenizer& tokenizer, std::span<const text::PiecedText> texts,
                 Padding padding) {
  return ids_of(tokenizer, texts, padding);
}

Tensor token_ids(const text::CLIPTokenizer& tokenizer, std::span<const std::string> texts,
                 Padding padding) {
  return ids_of(tokenizer, texts, padding);
}

nn::Conditioning encode_texts(std::span<const TextTower> towers,
                              std::span<const text::PiecedText> texts, Padding padding) {
  return encoded(towers, texts, padding);
}

nn::Conditioning encode_texts(std::span<const TextTower> towers, std::span<const std::string> texts,
                              Padding padding) {
  return encoded(towers, texts, padding);
}

}  // namespace mos::diffusion
