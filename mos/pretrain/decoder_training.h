#pragma once

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>
#include <torch/types.h>

#include <filesystem>
#include <string>

#include "mos/base/progress.h"
#include "mos/nn/limits.h"
#include "mos/nn/linear.h"
#include "mos/nn/norm.h"
#include "mos/pretrain/trainer.h"

/// The last training of the VAE's decoder, on latents as a sampler leaves them: never exact. A
/// discriminator and the image tower's features make edges come out as edges where the squared
/// error alone would blur what it cannot know.
namespace mos::pretrain {

struct DecoderOptions {
  TrainOptions train{
      .steps = 2500, .batch = 8, .learning_rate = 2e-4, .warmup = 50, .average = 0.998};
  double noise = 0.25;       ///< Greatest deviation of the noise on latents, whose own is 1.
  double adversarial = 0.5;  ///< Norm of the discriminator's gradient, over reconstruction's.
  double features = 0.1;     ///< Weight of the relative error of the image tower's features.
  std::int64_t width = 32;   ///< Of the discriminator's first layer.
  std::int64_t alone = 200;  ///< Steps that the discriminator learns before it is listened to.
  std::string device = "cpu";
};

template <class Visitor>
void describe(Visitor& visit, DecoderOptions& options) {
  describe(visit, options.train);
  visit("noise", options.noise, "greatest deviation of the noise on the latents", between(0, 100));
  visit("adversarial", options.adversarial, "the discriminator's gradient over reconstruction's",
        between(0, 1000));
  visit("features", options.features, "weight of the error of the image tower's features",
        between(0, 1000));
  visit("width", options.width, "channels of the discriminator's first layer",
        count_of(1, nn::kLargestWidth));
  visit("alone", options.alone, "steps before the discriminator is listened to",
        count_of(0, kMostSteps));
  visit("device", options.device, "cpu, cuda or cuda:1");
}

/// Says of overlapping patches of a picture whether they are drawn (positive) or decoded (PatchGAN,
/// arXiv 1611.07004): four convolutions, two of them strided, patches of 30 pixels.
class DiscriminatorImpl : public torch::nn::Module {
 public:
  explicit DiscriminatorImpl(std::int64_t width);
  /// [B,3,H,W] in −1…1 -> [B,1,H/4,W/4].
  torch::Tensor forward(const torch::Tensor& pictures);

 private:
  nn::Conv2d first_{nullptr}, second_{nullptr}, third_{nullptr}, last_{nullptr};
  nn::GroupNorm second_norm_{nullptr}, third_norm_{nullptr};
};
TORCH_MODULE(Discriminator);

/// Whether a parameter of an AutoencoderKL takes part in decoding.
bool is_decoding(const std::string& name);

/// Trains the decoder of the finished VAE of `base` in `base`/vae_decoder; its latents stay what
/// they are. Needs the finished towers. Resumes from its checkpoint.
void train_decoder(const std::filesystem::path& base, const DecoderOptions& options,
                   const ProgressCallback& progress, const CancelToken* cancel);

}  // namespace mos::pretrain
