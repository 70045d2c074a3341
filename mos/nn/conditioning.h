#pragma once

#include <torch/types.h>

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

/// What a U-Net is told beside the picture and its timestep.
namespace mos::nn {

/// The one text argument of U-Net, ControlNet, denoising and regions, for B pictures: made from
/// prompts by the conditioner (mos/concepts/tokens.h), sliced by attention. A value of handles.
struct Conditioning {
  Conditioning() = default;
  /// Text alone, as Stable Diffusion 1.x and 2.x have it.
  Conditioning(torch::Tensor text) : context(std::move(text)) {}  // NOLINT: it is one

  /// [B,S,C], or layer-wise [B,L,S,C] with one text for each slice (see TextSlices).
  torch::Tensor context;
  torch::Tensor pooled;    ///< [B,P], where the family has it; else undefined.
  torch::Tensor time_ids;  ///< [B,6], sizes and crops, where the family has them; else undefined.

  bool defined() const { return context.defined(); }
  bool is_layerwise() const { return context.dim() == 4; }
  std::int64_t size() const { return context.size(0); }  ///< B

  /// The pictures from `from` on, `count` of them; aliases.
  Conditioning narrow(std::int64_t from, std::int64_t count) const;
  /// Its only entry for `batch` pictures; aliases.
  Conditioning expand(std::int64_t batch) const;
  /// In this dtype and on this device.
  Conditioning to(const torch::TensorOptions& options) const;
  /// [B,S,C] repeated over `texts` slices (no copy), [B,L,S,C] as it is.
  Conditioning layerwise(std::int64_t texts) const;
};

/// All of them one after the other; layer-wise where any is. Required: otherwise all of one shape,
/// apart from B, and at least one.
Conditioning cat(std::span<const Conditioning> parts);

/// How many texts a layer-wise prompt has, and which of them each cross-attention layer reads: a
/// U-Net of 70 layers need not have 70 texts.
struct TextSlices {
  std::int64_t count = 0;
  std::vector<std::int64_t> of_layer;  ///< By position among the cross-attention layers.

  /// A text for each layer (P+, ED-LoRA).
  static TextSlices one_each(std::int64_t layers);
};

}  // namespace mos::nn
