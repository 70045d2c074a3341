#pragma once

#include <torch/types.h>

#include <array>
#include <filesystem>
#include <string>
#include <vector>

#include "mos/base/progress.h"
#include "mos/nn/clip.h"
#include "mos/pretrain/data.h"
#include "mos/pretrain/trainer.h"
#include "mos/text/clip_tokenizer.h"

namespace mos::pretrain {

struct TowerOptions {
  TrainOptions train{.steps = 2300, .batch = 112, .learning_rate = 1e-3, .average = 0.995};
  std::int64_t hidden = 192;
  std::int64_t layers = 4;
  std::int64_t heads = 4;
  std::int64_t projection = 128;
  std::int64_t image_size = 64;
  std::int64_t patch = 8;
};

template <class Visitor>
void describe(Visitor& visit, TowerOptions& options) {
  describe(visit, options.train);
  visit("hidden", options.hidden, "width of both towers");
  visit("layers", options.layers, "layers of each tower");
  visit("heads", options.heads, "attention heads");
  visit("projection", options.projection, "width of the common space");
  visit("image_size", options.image_size, "side of the pictures that the image tower sees");
  visit("patch", options.patch, "side of its patches");
}

/// transformers' config.json of the pair of towers.
Json clip_config_json(const TowerOptions& options, const text::CLIPTokenizer& tokenizer);

/// Token ids [B,S] of captions, padded to the longest of them (a causal text tower gives the same
/// end token as with full padding), or to the model's length with `full`.
torch::Tensor token_ids(const text::CLIPTokenizer& tokenizer,
                        const std::vector<std::string>& captions, bool full = false);

/// The left and the right half of pictures [B,3,H,W], each beside its mirror image, so that it
/// fills a picture: what judges one of two subjects looks at these.
std::array<torch::Tensor, 2> halves_doubled(const torch::Tensor& pictures);

/// Pictures [B,3,H,W] in −1…1 as the image tower takes them: its size, CLIP's mean and deviation.
torch::Tensor tower_pictures(const torch::Tensor& pictures, const nn::CLIPModel& clip);

/// Symmetric InfoNCE over pictures [B,D] and captions [B,D], with one wrong caption more for each
/// picture [B,D]. `same` [B,B] is true where a caption has the words of another picture's, which is
/// then no negative. Where `sides` [B] is true, the wrong caption exchanges left and right: few
/// pictures name sides, so these get a term of their own, or the towers never learn them.
torch::Tensor contrastive_loss(const torch::Tensor& pictures, const torch::Tensor& captions,
                               const torch::Tensor& wrong, const torch::Tensor& same,
                               const torch::Tensor& sides, const torch::Tensor& scale);

struct TowerFigures {
  double retrieval = 0.0;    ///< 256-way, picture to caption.
  double recognition = 0.0;  ///< Class of pictures with one subject, among all classes.
  double swapped = 0.0;      ///< Caption against the same with one subject exchanged.
  double sides = 0.0;        ///< Caption against the same with left and right exchanged.
};

/// On the held-out pictures.
TowerFigures measure_towers(nn::CLIPModel& clip, const text::CLIPTokenizer& tokenizer,
                            const Dataset& data);

/// The most similar of `captions` for each picture [B,3,H,W] in −1…1: int64 [B].
torch::Tensor best_caption(nn::CLIPModel& clip, const text::CLIPTokenizer& tokenizer,
                           const torch::Tensor& pictures, const std::vector<std::string>& captions);

/// Trains `base`/towers and writes model.safetensors and config.json there.
void train_towers(const std::filesystem::path& base, const TowerOptions& options,
                  const ProgressCallback& progress, const CancelToken* cancel);

/// The finished towers of `base`.
nn::CLIPModel load_towers(const std::filesystem::path& base);

}  // namespace mos::pretrain
