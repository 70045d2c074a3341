#pragma once

#include <torch/types.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "mos/checkpoint/part.h"
#include "mos/nn/clip.h"
#include "mos/nn/conditioning.h"
#include "mos/text/clip_tokenizer.h"

/// From texts to what a U-Net reads of them: nobody else looks into a text encoder's output.
namespace mos::diffusion {

/// What a U-Net reads of a text encoder.
struct TowerOutput {
  /// 0: the last layer's states behind the final norm, as in 1.x and 2.x. n: the states n layers
  /// before the last one, without the norm (1 in Stable Diffusion XL).
  std::int64_t skipped_layers = 0;
  bool pooled = false;  ///< The state of the end token, too.
};

/// A tokenizer, the text encoder that reads its tokens, and what that gives. The encoder is a
/// handle: copies share it. The tokenizers of a model have one vocabulary: a token has the same
/// number in all of them.
struct TextTower {
  checkpoint::Part part = checkpoint::Part::kTextEncoder;
  text::CLIPTokenizer tokenizer;
  nn::CLIPTextModel encoder{nullptr};
  TowerOutput gives = {};

  std::int64_t width() const { return encoder->config().hidden_size; }
  torch::Device device() const;
  /// Of token ids [T,S] int64 on any device: context [T,S,C], and [T,C] where it is pooled. With
  /// gradients towards whatever in the encoder has them.
  nn::Conditioning encode(const torch::Tensor& ids) const;
};

enum class Padding {
  kToMaxLength,  ///< As the tokenizer pads, or cut there.
  kNone,         ///< As long as they are, which may be longer than the encoder reads.
  kCut,          ///< As long as they are, but no longer than that.
};

/// Token ids of texts of equal length, [T,S] int64 on the CPU.
torch::Tensor token_ids(const text::CLIPTokenizer& tokenizer,
                        std::span<const text::PiecedText> texts,
                        Padding padding = Padding::kToMaxLength);
torch::Tensor token_ids(const text::CLIPTokenizer& tokenizer, std::span<const std::string> texts,
                        Padding padding = Padding::kToMaxLength);

/// Every text as all towers read it: their states side by side, [T,S,C]; pooled from the last tower
/// that gives it.
nn::Conditioning encode_texts(std::span<const TextTower> towers,
                              std::span<const text::PiecedText> texts,
                              Padding padding = Padding::kToMaxLength);
/// The same for plain texts.
nn::Conditioning encode_texts(std::span<const TextTower> towers, std::span<const std::string> texts,
                              Padding padding = Padding::kToMaxLength);

}  // namespace mos::diffusion
