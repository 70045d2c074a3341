#pragma once

#include <torch/types.h>

#include <optional>

#include "mos/pretrain/adapter_training.h"
#include "mos/pretrain/sampling.h"

/// Does an adapter put things where its condition says?
namespace mos::pretrain {

/// What stands before the background of `picture` uint8 [H,W,3]: the box around all pixels that
/// differ from the picture's edge in their row. For plain backgrounds; nothing where all are alike.
std::optional<world::Box> subject_box(const torch::Tensor& picture);

/// Intersection over union.
double box_overlap(const world::Box& a, const world::Box& b);

/// Agreement of two edge pictures uint8 [H,W,1]: the harmonic mean of the shares of each one's
/// edges that have an edge of the other within two pixels; 0 where one has none.
double edge_agreement(const torch::Tensor& a, const torch::Tensor& b);

/// Means over held-out captions, whose pictures are painted from the same noise with the adapter
/// and without. Keypose: single subjects before plain backgrounds, by the overlap of the painted
/// subject's box with the box of the pose. Sketch: by edge_agreement with the sketch.
struct AdapterEffect {
  double with = 0.0;
  double without = 0.0;
  double drawn = 0.0;   ///< What the judge makes of the autoencoder's copy of the drawn pictures.
  torch::Tensor sheet;  ///< uint8 [H,W,3]: columns of condition, picture without, picture with.
};

AdapterEffect adapter_effect(diffusion::Model model, const nn::T2IAdapter& adapter,
                             ConditionKind kind, const Dataset& data, const SampleOptions& options);

}  // namespace mos::pretrain
