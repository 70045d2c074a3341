#pragma once

#include <torch/types.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "mos/nn/clip.h"
#include "mos/pretrain/data.h"
#include "mos/text/clip_tokenizer.h"

namespace mos::pretrain {

/// An image-text tower that says what is in pictures of a world: the nearest of all subjects,
/// styles or backgrounds, told as prompts. Pictures are uint8 [B,H,W,3] of one size.
class Judge {
 public:
  Judge(nn::CLIPModel towers, const text::CLIPTokenizer& tokenizer, const world::World& world);

  /// The subjects of the `count` equal pieces of each picture, from left to right: classes
  /// int64 [B,count].
  torch::Tensor subjects(const torch::Tensor& pictures, std::int64_t count);

  /// Scenes first, then colours: int64 [B]. The number of a background is background_of(spec).
  torch::Tensor backgrounds(const torch::Tensor& pictures);

  torch::Tensor styles(const torch::Tensor& pictures);  ///< int64 [B]

  /// Unit vectors of whole pictures in the common space: float32 [B,D].
  torch::Tensor embeds(const torch::Tensor& pictures);
  /// What the image tower makes of whole pictures before the common space: float32 [B,C].
  torch::Tensor features(const torch::Tensor& pictures);
  torch::Tensor embeds(const std::vector<std::string>& captions);

  const world::World& world() const { return world_; }

 private:
  torch::Tensor nearest(const torch::Tensor& images, const torch::Tensor& prompts) const;

  nn::CLIPModel towers_;
  const text::CLIPTokenizer& tokenizer_;
  world::World world_;
  torch::Tensor subjects_, styles_, backgrounds_;  ///< Unit vectors of prompts [N,D].
};

/// The prompts that a Judge compares with, which towers are trained on, too.
std::vector<std::string> subject_prompts(const world::World& world);
std::vector<std::string> style_prompts(const world::World& world);
std::vector<std::string> background_prompts(const world::World& world);

/// The index of a caption's background among background_prompts.
std::int64_t background_of(const world::World& world, const world::CaptionSpec& spec);

/// How often a judge is right about held-out pictures, which it has never seen.
struct JudgeFigures {
  double single = 0.0;      ///< The subject of square pictures with one.
  double both = 0.0;        ///< Both of two, on 128×128, 192×128 and 256×128.
  double three = 0.0;       ///< All of three, on 384×128.
  double background = 0.0;  ///< Of square pictures.
  double style = 0.0;       ///< Of square pictures with subjects.
};
JudgeFigures measure_judge(Judge& judge, const Dataset& data, std::int64_t pictures);

}  // namespace mos::pretrain
