#pragma once

#include <torch/nn/module.h>
#include <torch/types.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "mos/base/json.h"
#include "mos/diffusion/noise_schedule.h"
#include "mos/diffusion/text_tower.h"
#include "mos/nn/clip.h"
#include "mos/nn/unet.h"
#include "mos/pretrain/alignment.h"
#include "mos/pretrain/batches.h"
#include "mos/pretrain/latents.h"
#include "mos/pretrain/trainer.h"
#include "mos/pretrain/unet_training.h"
#include "mos/text/clip_tokenizer.h"

/// What the U-Net is trained on and measured by.
namespace mos::pretrain {

/// The U-Net and the text encoder that it reads: one network for the optimiser.
struct GuidedUNet : torch::nn::Module {
  GuidedUNet(const Json& unet_config, const Json& text_config);
  /// Adds `alignment` with towers of this width.
  void align_with(std::int64_t tower_width);

  nn::UNet2DConditionModel unet;
  diffusion::TextTower tower;  ///< Without tokenizer.
  Alignment alignment{nullptr};
};

/// What each step shows. A step has one canvas, as only equal pictures fit into one batch, and as
/// many pictures of it as cover the area of `batch` square ones, so that steps take equally long;
/// larger canvases have more steps in return.
class CanvasPlan {
 public:
  /// `multiple` divides the number of pictures of every step. `squares`: share of the steps whose
  /// canvas is square, the others keep their proportions; empty: all pictures are seen equally
  /// often. Throws kUsage for a share of steps that `latents` has no pictures for.
  CanvasPlan(const LatentStore& latents, std::int64_t batch, std::int64_t multiple,
             std::optional<double> squares = {});

  std::size_t canvas(std::int64_t seed, std::int64_t step) const;
  std::int64_t pictures(std::size_t canvas) const { return pictures_.at(canvas); }

 private:
  std::vector<double> chance_;  // of a step, added up
  std::vector<std::int64_t> pictures_;
};

/// What all workers' losses read.
struct UNetTask {
  const Dataset& data;
  const LatentStore& latents;
  const text::CLIPTokenizer& tokenizer;
  diffusion::NoiseSchedule schedule;
  CanvasPlan plan;
  PictureDraw pictures;
  torch::Tensor weights;  ///< Of the timesteps, [T].
  UNetOptions options;
  torch::Device device;
  nn::CLIPModel towers{nullptr};  ///< What the U-Net is aligned with, bfloat16; may be empty.
};

/// The weighted denoising error of a worker's share of a step. Every picture of a batch is seen
/// under options.noises different noises: its caption is encoded once for all of them.
struct UNetLoss {
  /// A worker's share of what a step shows.
  struct Shown {
    std::size_t canvas = 0;
    torch::Tensor indices;    ///< Of its pictures, [B/noises].
    torch::Tensor ids;        ///< Of their captions, [B/noises,S].
    torch::Tensor timesteps;  ///< [B]
    torch::Tensor pictures;   ///< uint8 [B/noises,H,W,3] if they are aligned, or undefined.
  };

  std::shared_ptr<GuidedUNet> networks;
  const UNetTask& task;
  Share share;
  std::shared_ptr<Ahead<Shown>> ahead = nullptr;  ///< Empty on a CPU.

  torch::Tensor operator()(std::int64_t step);
  Shown show(std::int64_t step) const;
};

/// The squared error of each picture of a batch [B] float32, whose captions' ids [B/noises,S] are
/// encoded by the networks.
torch::Tensor denoising_errors(GuidedUNet& networks, const UNetTask& task, const NoisyBatch& batch,
                               const torch::Tensor& ids);

/// The error on held-out pictures with fixed noise, the same for all recipes: all timesteps weigh
/// the same.
class HeldOutPictures {
 public:
  HeldOutPictures(const std::filesystem::path& base, const UNetTask& task);

  /// held_out_loss of square pictures, of its low, middle and high third of timesteps, and of the
  /// other canvases.
  Json measure(GuidedUNet& networks) const;

 private:
  struct Batch {
    NoisyBatch pictures;
    torch::Tensor ids;
    std::size_t canvas = 0;
  };
  const UNetTask& task_;
  std::vector<Batch> batches_;
};

}  // namespace mos::pretrain
