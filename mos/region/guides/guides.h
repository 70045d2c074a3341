#pragma once

#include <memory>

#include "mos/region/guide.h"

/// The guides that there are, each in a file of its own.
namespace mos::region {

std::unique_ptr<LatentGuide> make_attend_and_excite();
std::unique_ptr<LatentGuide> make_layout_guidance();
std::unique_ptr<LatentGuide> make_bounded_attention();
std::unique_ptr<LatentGuide> make_lora_composer();

/// Sums of a softmax are divided by no less, which is below what any of them is.
inline constexpr double kLeastAttention = 1e-12;

/// What Attend-and-Excite and LoRA-Composer share.
///
/// √s with s falling evenly from 1 to a half over all steps, which two of them multiply their steps
/// with.
double falling_root(const GuideTime& time);

/// A map [h,w] through the 3×3 of both of them; edges are mirrored. Required: two positions a side.
torch::Tensor smoothed(const torch::Tensor& map);

}  // namespace mos::region
