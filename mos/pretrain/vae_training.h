#pragma once

#include <filesystem>

#include "mos/base/progress.h"
#include "mos/nn/limits.h"
#include "mos/nn/vae.h"
#include "mos/pretrain/data.h"
#include "mos/pretrain/trainer.h"

namespace mos::pretrain {

struct VaeOptions {
  TrainOptions train{.steps = 5000, .batch = 16, .learning_rate = 4e-4, .average = 0.995};
  std::int64_t latent_channels = 12;
  std::vector<std::int64_t> block_out_channels = {32, 32, 64, 128};
  std::int64_t crop = 64;       ///< Side of the crops of the first part of the run.
  double crop_share = 0.75;     ///< Share of the steps on crops; the rest sees full pictures.
  std::int64_t full_batch = 4;  ///< Pictures for each step of the rest.
  double kl_weight = 2e-4;      ///< Of the KL divergence summed over channels.
  std::string device = "cpu";
};

template <class Visitor>
void describe(Visitor& visit, VaeOptions& options) {
  describe(visit, options.train);
  visit("latent_channels", options.latent_channels, "channels of a latent",
        count_of(1, nn::kLargestWidth));
  visit("block_out_channels", options.block_out_channels, "widths of the levels",
        count_of(1, nn::kLargestWidth));
  visit("crop", options.crop, "side of the crops of the first part of the run",
        count_of(1, nn::kLargestWidth));
  visit("crop_share", options.crop_share, "share of the steps on crops", between(0, 1));
  visit("full_batch", options.full_batch, "full pictures for each of the other steps",
        count_of(1, kLargestBatch));
  visit("kl_weight", options.kl_weight, "weight of the KL divergence", between(0, 1000));
  visit("device", options.device, "cpu, cuda or cuda:1");
}

Json vae_config_json(const VaeOptions& options);

/// 4·MSE + 0.15·Σ over three scales of (L1 + 0.5·L1 of the gradients). Both [B,3,H,W] float32.
torch::Tensor reconstruction_loss(const torch::Tensor& result, const torch::Tensor& picture);

/// KL divergence from the unit Gaussian, summed over channels, mean over positions and pictures.
torch::Tensor kl_divergence(const nn::LatentDistribution& latents);

/// PSNR in dB of each picture, [B]; both in −1…1.
torch::Tensor psnr(const torch::Tensor& result, const torch::Tensor& picture);

/// Changes quant_conv and post_quant_conv so that latents have zero mean and unit deviation per
/// channel where they had `mean` and `deviation` [latent], and pictures stay what they were.
void fold_normalisation(nn::AutoencoderKL& vae, const torch::Tensor& mean,
                        const torch::Tensor& deviation);

/// Mean PSNR over the first `count` held-out pictures.
double held_out_psnr(nn::AutoencoderKL& vae, const Dataset& data, std::int64_t count);

/// Trains `base`/vae and writes model.safetensors and config.json there, latents normalised,
/// scaling_factor 1.
void train_vae(const std::filesystem::path& base, const VaeOptions& options,
               const ProgressCallback& progress, const CancelToken* cancel);

/// The VAE of `base` as train_vae() left it. Throws kIo when there is none.
nn::AutoencoderKL finished_vae(const std::filesystem::path& base);

/// Originals above reconstructions: uint8 [H,W,3].
torch::Tensor reconstruction_sheet(nn::AutoencoderKL& vae, const Dataset& data);

/// The best VAE in `base`: with the decoder of vae_decoder's latest checkpoint where there is one
/// (decoder_training.h).
nn::AutoencoderKL load_vae(const std::filesystem::path& base);

}  // namespace mos::pretrain
