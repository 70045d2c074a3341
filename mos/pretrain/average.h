#pragma once

#include <torch/nn/module.h>

#include <filesystem>
#include <string>

#include "mos/base/field_rules.h"
#include "mos/checkpoint/part.h"

/// The mean of trained weights and of those that the training went on from. A short training on
/// some of a world's pictures unlearns the others; on the straight way back to its start these
/// return before what it has learned is lost (Robust fine-tuning of zero-shot models, arXiv
/// 2109.01903, section 3).
namespace mos::pretrain {

struct AverageOptions {
  std::string with;    ///< A base in diffusers' layout.
  double share = 0.5;  ///< Of what was trained here; the other has the rest.
};

template <class Visitor>
void describe(Visitor& visit, AverageOptions& options) {
  visit("with", options.with, "the base whose U-Net and text encoder are averaged with", a_path());
  visit("share", options.share, "share that the weights trained here have; 1: they are as trained",
        between(0, 1));
}

/// From now on the U-Net and the text encoder of `base` are averages to all that loads them
/// (load_unet, load_text_tower). Its checkpoint stays, so other shares can follow, and 1 takes them
/// back. Throws kUsage without `with`, kIo where nothing has been trained, kMismatch for networks
/// of other shapes.
void average_with(const std::filesystem::path& base, const AverageOptions& options);

/// The share of what was trained in `base`; 1 where nothing is averaged.
double share_of_training(const std::filesystem::path& base);

/// Moves `network`, part `part` of `base` in float32 as it was trained, to the average. Throws
/// kMismatch where the other base is not the one any more that was named.
void average(torch::nn::Module& network, checkpoint::Part part, const std::filesystem::path& base);

}  // namespace mos::pretrain
