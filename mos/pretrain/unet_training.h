#pragma once

#include <torch/types.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "mos/base/progress.h"
#include "mos/diffusion/model.h"
#include "mos/nn/clip.h"
#include "mos/nn/limits.h"
#include "mos/nn/unet.h"
#include "mos/pretrain/data.h"
#include "mos/pretrain/trainer.h"
#include "mos/text/clip_tokenizer.h"

namespace mos::pretrain {

struct UNetOptions {
  TrainOptions train{
      .steps = 12500, .batch = 256, .learning_rate = 1e-3, .warmup = 150, .average = 0.999};
  std::vector<std::int64_t> block_out_channels = {64, 128, 192};
  std::vector<std::int64_t> heads = {2, 4, 4};
  /// 0: the level, counted from the finest, has no transformer on the way down; empty: all have.
  std::vector<std::int64_t> down_attention = {0, 1, 1};
  std::vector<std::int64_t> up_attention = {0, 1, 1};  ///< The same on the way up.
  double empty_captions = 0.1;  ///< Share of pictures trained without caption, for guidance.
  /// Share of the square pictures that are drawn from those with several subjects; empty: all
  /// pictures alike.
  std::optional<double> several;
  /// Share of the steps that show square pictures; empty: every picture of every canvas is seen
  /// equally often, which takes wide ones more steps.
  std::optional<double> squares;
  std::int64_t noises = 8;  ///< Of each picture of a batch; its caption is encoded once.
  std::string timesteps = "uniform";
  /// Min-SNR weighting (arXiv 2303.09556); 0: all timesteps weigh the same. Small latents show
  /// where things stand only at noise that a cap leaves almost without weight.
  double snr_cap = 0.0;
  double align = 0.0;  ///< Weight of the alignment with the image tower (alignment.h); 0: none.
  std::string prediction = "v_prediction";
  std::string optimizer = "adamw";
  std::string start_from;  ///< A base whose weights it starts from; empty: random and the towers'.
  std::string device = "cpu";
};

template <class Visitor>
void describe(Visitor& visit, UNetOptions& options) {
  describe(visit, options.train);
  visit("block_out_channels", options.block_out_channels, "widths of the levels",
        count_of(1, nn::kLargestWidth));
  visit("heads", options.heads, "attention heads of the levels", count_of(1, nn::kLargestWidth));
  visit("down_attention", options.down_attention,
        "transformers of the levels on the way down, 0 or 1, finest first; empty: 1 everywhere",
        between(0, 1));
  visit("up_attention", options.up_attention, "the same on the way up", between(0, 1));
  visit("empty_captions", options.empty_captions, "share of pictures trained without caption",
        between(0, 1));
  visit("several", options.several,
        "share of the square pictures with two or more subjects (not given: as they come)",
        between(0, 1));
  visit("squares", options.squares,
        "share of the steps with square pictures (not given: as it takes to see all pictures)",
        between(0, 1));
  visit("noises", options.noises, "noises of each picture of a batch", count_of(1, kMostAtATime));
  visit("timesteps", options.timesteps, "uniform, logit_normal or cubic (more high noise)",
        one_of({"uniform", "logit_normal", "cubic"}));
  visit("snr_cap", options.snr_cap, "cap of the min-SNR weighting; 0: none", between(0, 1e6));
  visit("align", options.align, "weight of the alignment with the image tower; 0: none",
        between(0, 1000));
  visit("prediction", options.prediction, "epsilon or v_prediction",
        one_of({"epsilon", "v_prediction"}));
  visit("optimizer", options.optimizer, "adamw, or muon for the U-Net's matrices and kernels",
        one_of({"adamw", "muon"}));
  visit("start_from", options.start_from,
        "a base in diffusers' layout whose U-Net and text encoder are trained on (empty: from "
        "nothing)",
        a_path());
  visit("device", options.device, "cpu, cuda or cuda:1");
}

Json unet_config_json(const UNetOptions& options, std::int64_t latent_channels,
                      std::int64_t latent_side, std::int64_t text_width);
Json scheduler_config_json(const std::string& prediction);

/// Weight of each timestep's squared error [T]: min(SNR, cap)/SNR for ε-prediction,
/// min(SNR, cap)/(SNR + 1) for v-prediction; ones without a cap.
torch::Tensor min_snr_weights(const diffusion::NoiseSchedule& schedule, double cap);

/// What the U-Net reads for captions, in bfloat16.
nn::Conditioning encode_captions(const diffusion::TextTower& tower,
                                 const std::vector<std::string>& captions);

/// Trains the U-Net and the text encoder that it reads as one network, on pictures of all canvases,
/// in `base`/unet; resumes from its checkpoint. The text encoder starts as the text half of the
/// finished towers: CLIP's way of learning soon says what is in a picture, but hardly on which
/// side, and the denoising error teaches sides, but is slow to tell a lion from a panda. With
/// options.start_from both networks start as those of that base.
void train_unet(const std::filesystem::path& base, const UNetOptions& options,
                const ProgressCallback& progress, const CancelToken* cancel);

/// The networks of `base` by their configurations alone, in float32. Throw kIo where there is none.
nn::UNet2DConditionModel untrained_unet(const std::filesystem::path& base);
nn::CLIPTextModel untrained_encoder(const std::filesystem::path& base);

/// The averaged networks of the latest checkpoint of `base`, with weights in `dtype`; averaged once
/// more with another base where that was asked for (average.h).
nn::UNet2DConditionModel load_unet(const std::filesystem::path& base, torch::ScalarType dtype);
diffusion::TextTower load_text_tower(const std::filesystem::path& base, torch::ScalarType dtype);

/// The base as it is by now: the VAE, the U-Net in bfloat16 and the text tower in `text_dtype`.
diffusion::Model load_base(const std::filesystem::path& base, torch::ScalarType text_dtype,
                           torch::Device device = torch::kCPU);

}  // namespace mos::pretrain
