#pragma once

#include <memory>
#include <vector>

#include "mos/diffusion/denoise.h"
#include "mos/diffusion/noise_schedule.h"
#include "mos/region/guide.h"

/// The one way from a loss over attention to latents.
namespace mos::region {

struct SteeringInputs {
  nn::UNet2DConditionModel unet{nullptr};
  Guide guide = Guide::kNone;
  double scale = 1.0;               ///< On the guide's steps; 0 only says what they would be for.
  std::vector<ObservedText> texts;  ///< Of the subjects.
  std::vector<Subject> subjects;
  nn::FeatureSize latents = {0, 0};
  const diffusion::NoiseSchedule* schedule = nullptr;  ///< Must outlive the callback.
};

/// Runs the U-Net on the prompt's half with gradients and moves the sample as the guide says,
/// before each step, picture by picture: memory is that of one picture's graph, and pictures do not
/// depend on their batch. Weights take no part in the graph. Says at the guide's end what it came
/// to. Throws kMismatch for a gradient that is not finite.
diffusion::SteerCallback steering(SteeringInputs inputs);

}  // namespace mos::region
