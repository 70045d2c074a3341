#pragma once

#include <torch/types.h>

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "mos/eval/picture_input.h"
#include "mos/nn/clip.h"
#include "mos/nn/compute.h"
#include "mos/nn/vit.h"
#include "mos/text/clip_tokenizer.h"

/// The paper's measures (section 4.3): how much of a concept is in a picture, by CLIP's eyes.
namespace mos::eval {

/// Where a base model keeps who judges its pictures: CLIP towers with a tokenizer of their own.
inline std::filesystem::path judge_of(const std::filesystem::path& base) { return base / "judge"; }

/// A CLIP model with its tokenizer.
class ClipScorer {
 public:
  /// Moves the model to where it computes.
  ClipScorer(nn::CLIPModel model, text::CLIPTokenizer tokenizer, PictureInput input,
             const nn::Compute& compute = {});

  /// `directory` is as transformers has it: config.json, weights in model.safetensors or
  /// pytorch_model.bin, and perhaps preprocessor_config.json, without which pictures are brought to
  /// size as CLIP's own code does. The tokenizer is in `tokenizer_directory` or in tokenizer/
  /// there. Throws kIo, kFormat or kMismatch.
  static ClipScorer load(const std::filesystem::path& directory,
                         const std::filesystem::path& tokenizer_directory,
                         const nn::Compute& compute = {});

  /// Who judges the pictures of a base model: judge_of(base), which has a tokenizer of its own and
  /// sees means of areas, as when it was trained. Throws kIo where there is none.
  static ClipScorer load_judge(const std::filesystem::path& base, const nn::Compute& compute = {});

  /// uint8 [B,H,W,3] -> unit vectors [B,D] float32 on the CPU.
  torch::Tensor image_embeds(const torch::Tensor& pictures);
  /// Unit vectors [B,D] float32 on the CPU.
  torch::Tensor text_embeds(std::span<const std::string> texts);

 private:
  nn::CLIPModel model_;
  text::CLIPTokenizer tokenizer_;
  PictureInput input_;
  nn::Compute compute_;
};

/// A vision transformer that was trained without texts, such as DINO: the cosine of its class token
/// tells things of one class apart, where CLIP sees the class.
class DinoScorer {
 public:
  /// `directory` as transformers has it, see ClipScorer::load. Throws kIo, kFormat or kMismatch.
  explicit DinoScorer(const std::filesystem::path& directory, const nn::Compute& compute = {});

  /// As ClipScorer's.
  torch::Tensor image_embeds(const torch::Tensor& pictures);

 private:
  nn::ViTModel model_;
  PictureInput input_;
  nn::Compute compute_;
};

/// Image alignment of generated and reference embeddings [G,D] and [R,D]: mean of max(cos, 0).
struct ImageAlignment {
  double all_pairs = 0.0;        ///< Over every pair, as Custom Diffusion reports it.
  double first_reference = 0.0;  ///< Against the first reference alone, as the paper's script did.
};
ImageAlignment image_alignment(const torch::Tensor& generated, const torch::Tensor& references);

/// The same of each generated picture by itself, float64 [G]: what intervals are made of.
struct AlignmentOfEach {
  torch::Tensor all_pairs, first_reference;
};
AlignmentOfEach alignment_of_each(const torch::Tensor& generated, const torch::Tensor& references);

/// How alike the pictures of one thing are, embeddings [N,D]: mean of max(cos, 0) of each with the
/// others. What its painted pictures can reach at best. Throws kUsage for fewer than two.
double leave_one_out_alignment(const torch::Tensor& references);

/// Text alignment (CLIPScore): 2.5 · mean of max(cos, 0), embeddings [G,D] against one text [D].
double text_alignment(const torch::Tensor& generated, const torch::Tensor& text);
/// The same of each picture, float64 [G], with one text [D] for all or one for each [G,D].
torch::Tensor text_alignment_of_each(const torch::Tensor& generated, const torch::Tensor& texts);

/// Bleeding margin of a region's crops [G,D]: alignment with its own concept's references minus the
/// best alignment with another concept of the picture. Positive: it looks most like itself.
double bleeding_margin(const torch::Tensor& crops, std::size_t own,
                       std::span<const torch::Tensor> references);
/// The same of each crop, float64 [G], the best other concept being each crop's own: what share of
/// regions looks most like itself. Throws kUsage for fewer than two concepts.
torch::Tensor margin_of_each(const torch::Tensor& crops, std::size_t own,
                             std::span<const torch::Tensor> references);

}  // namespace mos::eval
