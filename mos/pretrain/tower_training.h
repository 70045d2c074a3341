#pragma once

#include <torch/types.h>

#include <filesystem>
#include <string>
#include <vector>

#include "mos/base/progress.h"
#include "mos/nn/clip.h"
#include "mos/nn/limits.h"
#include "mos/pretrain/data.h"
#include "mos/pretrain/trainer.h"
#include "mos/text/clip_tokenizer.h"

namespace mos::pretrain {

/// The towers whose text half starts the U-Net's text encoder and whose image half lends its
/// features to the other trainings, or the judge, which is of another size and seed, sees other
/// pictures and has no part in any training.
enum class TowerRole { kTowers, kJudge };

struct TowerOptions {
  TrainOptions train{.steps = 1600, .batch = 128, .learning_rate = 1e-3, .average = 0.995};
  std::int64_t hidden = 192;
  std::int64_t layers = 4;
  std::int64_t heads = 4;
  std::int64_t text_hidden = 0;  ///< 0: as the image tower.
  std::int64_t text_layers = 0;
  std::int64_t text_heads = 0;
  std::int64_t projection = 128;
  std::int64_t image_size = 64;
  std::int64_t patch = 8;
  std::string device = "cpu";
};

/// What `role` is trained with unless told otherwise.
TowerOptions tower_options(TowerRole role);

/// "towers" or "judge": the folder in a base's working folder.
const char* folder_of(TowerRole role);

template <class Visitor>
void describe(Visitor& visit, TowerOptions& options) {
  describe(visit, options.train);
  visit("hidden", options.hidden, "width of the image tower", count_of(1, nn::kLargestWidth));
  visit("layers", options.layers, "its layers", count_of(1, nn::kMostLayers));
  visit("heads", options.heads, "its attention heads", count_of(1, nn::kLargestWidth));
  visit("text_hidden", options.text_hidden, "width of the text tower; 0: as the image tower",
        count_of(0, nn::kLargestWidth));
  visit("text_layers", options.text_layers, "its layers; 0: as the image tower",
        count_of(0, nn::kMostLayers));
  visit("text_heads", options.text_heads, "its attention heads; 0: as the image tower",
        count_of(0, nn::kLargestWidth));
  visit("projection", options.projection, "width of the common space",
        count_of(1, nn::kLargestWidth));
  visit("image_size", options.image_size, "side of the pictures that the image tower sees",
        count_of(1, nn::kLargestWidth));
  visit("patch", options.patch, "side of its patches", count_of(1, nn::kLargestWidth));
  visit("device", options.device, "cpu, cuda or cuda:1");
}

/// transformers' config.json of the pair of towers.
Json clip_config_json(const TowerOptions& options, const text::CLIPTokenizer& tokenizer);

/// Token ids [B,S] of captions, padded to the longest of them (a causal text tower gives the same
/// end token as with full padding), or to the model's length with `full`.
torch::Tensor token_ids(const text::CLIPTokenizer& tokenizer,
                        const std::vector<std::string>& captions, bool full = false);

/// Pictures [B,3,H,W] in −1…1 as the image tower takes them: its size, CLIP's mean and deviation.
torch::Tensor tower_pictures(const torch::Tensor& pictures, const nn::CLIPModel& clip);

/// Symmetric InfoNCE over pictures [B,D] and captions [B,D], with one wrong caption more for each
/// picture [B,D]. `same` [B,B] is true where a caption has the words of another picture's, which is
/// then no negative. Where `sides` [B] is true, the wrong caption exchanges left and right: few
/// pictures name sides, so these get a term of their own, or the towers never learn them.
torch::Tensor contrastive_loss(const torch::Tensor& pictures, const torch::Tensor& captions,
                               const torch::Tensor& wrong, const torch::Tensor& same,
                               const torch::Tensor& sides, const torch::Tensor& scale);

/// Cross entropy of telling `labels` int64 [B] among prompts [N,D] by pictures [B,D]; pictures
/// whose label is negative do not count.
torch::Tensor recognition_loss(const torch::Tensor& pictures, const torch::Tensor& prompts,
                               const torch::Tensor& labels, const torch::Tensor& scale);

struct TowerFigures {
  double retrieval = 0.0;  ///< 256-way, picture to caption.
  double swapped = 0.0;    ///< Caption against the same with one subject exchanged.
  double sides = 0.0;      ///< Caption against the same with left and right exchanged.
  double style = 0.0;      ///< Caption against the same with the style exchanged.
};

/// On the held-out square pictures.
TowerFigures measure_towers(nn::CLIPModel& clip, const text::CLIPTokenizer& tokenizer,
                            const Dataset& data);

/// Trains `base`/towers or `base`/judge and writes model.safetensors and config.json there; resumes
/// from its checkpoint.
void train_towers(const std::filesystem::path& base, TowerRole role, const TowerOptions& options,
                  const ProgressCallback& progress, const CancelToken* cancel);

/// The finished towers of `base`.
nn::CLIPModel load_towers(const std::filesystem::path& base, TowerRole role = TowerRole::kTowers);

}  // namespace mos::pretrain
