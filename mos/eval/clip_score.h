#pragma once

#include <torch/types.h>

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "mos/nn/clip.h"
#include "mos/nn/compute.h"
#include "mos/text/clip_tokenizer.h"

/// The paper's measures (section 4.3): how much of a concept is in a picture, by CLIP's eyes.
namespace mos::eval {

/// Pictures as CLIP's image tower takes them: shorter side to `side` (area average, so nothing
/// aliases), centre crop, CLIP's mean and deviation. uint8 [B,H,W,3] -> float32 [B,3,side,side].
torch::Tensor clip_pixels(const torch::Tensor& pictures, std::int64_t side);

/// A CLIP model with its tokenizer.
class ClipScorer {
 public:
  /// Moves the model to where it computes.
  ClipScorer(nn::CLIPModel model, text::CLIPTokenizer tokenizer, const nn::Compute& compute = {});

  /// `directory` holds config.json and model.safetensors; the tokenizer is there or, for a base
  /// model's own towers, in `tokenizer_directory`. Throws kIo, kFormat or kMismatch.
  static ClipScorer load(const std::filesystem::path& directory,
                         const std::filesystem::path& tokenizer_directory,
                         const nn::Compute& compute = {});

  /// Who judges the pictures of a base model: `base`/judge, which has a tokenizer of its own, or,
  /// where there is none, `base`/clip with the model's tokenizer.
  static ClipScorer load_judge(const std::filesystem::path& base, const nn::Compute& compute = {});

  /// uint8 [B,H,W,3] -> unit vectors [B,D] float32 on the CPU.
  torch::Tensor image_embeds(const torch::Tensor& pictures);
  /// Unit vectors [B,D] float32 on the CPU.
  torch::Tensor text_embeds(std::span<const std::string> texts);

 private:
  nn::CLIPModel model_;
  text::CLIPTokenizer tokenizer_;
  nn::Compute compute_;
};

/// Image alignment of generated and reference embeddings [G,D] and [R,D]: mean of max(cos, 0).
struct ImageAlignment {
  double all_pairs = 0.0;        ///< Over every pair, as Custom Diffusion reports it.
  double first_reference = 0.0;  ///< Against the first reference alone, as the paper's script did.
};
ImageAlignment image_alignment(const torch::Tensor& generated, const torch::Tensor& references);

/// How alike the pictures of one thing are, embeddings [N,D]: mean of max(cos, 0) of each with the
/// others. What its painted pictures can reach at best. Throws kUsage for fewer than two.
double leave_one_out_alignment(const torch::Tensor& references);

/// Text alignment (CLIPScore): 2.5 · mean of max(cos, 0), embeddings [G,D] against one text [D].
double text_alignment(const torch::Tensor& generated, const torch::Tensor& text);

/// Bleeding margin of a region's crops [G,D]: alignment with its own concept's references minus the
/// best alignment with another concept of the picture. Positive: it looks most like itself.
double bleeding_margin(const torch::Tensor& crops, std::size_t own,
                       std::span<const torch::Tensor> references);

}  // namespace mos::eval
