#pragma once

#include <ATen/core/Generator.h>
#include <torch/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "mos/diffusion/noise_schedule.h"
#include "mos/pretrain/data.h"

/// The batches that denoisers are trained on.
namespace mos::pretrain {

enum class TimestepDraw {
  kUniform,
  /// t = (1 − u³)·T with uniform u: high noise more often, where a picture's structure is decided
  /// (T2I-Adapter, arXiv 2302.08453, section 3.4).
  kCubic,
  /// t = sigmoid(n)·T with normal n: the middle more often than both ends (Stable Diffusion 3,
  /// arXiv 2403.03206, section 3.1).
  kLogitNormal,
};

/// uniform, cubic or logit_normal. Throws kUsage for other names.
TimestepDraw timestep_draw(const std::string& name);

/// One timestep for each of `count` pictures, every stretch of 1/count of the draw once: the loss
/// of a step then varies far less than with independent draws. int64 [count] in 0 … timesteps − 1.
torch::Tensor stratified_timesteps(std::int64_t count, std::int64_t timesteps,
                                   at::Generator& generator,
                                   TimestepDraw draw = TimestepDraw::kUniform);

/// Noisy latents and what the U-Net should say of them: [B,C,h,w] float32, timesteps int64 [B].
struct NoisyBatch {
  torch::Tensor noisy, timesteps, target;
};

/// Noise, drawn where they are (randn_on), for `clean` latents [B,C,h,w] float32 at `timesteps`
/// int64 [B].
NoisyBatch add_noise(const diffusion::NoiseSchedule& schedule, const torch::Tensor& clean,
                     const torch::Tensor& timesteps, at::Generator& generator);
/// The same at stratified timesteps.
NoisyBatch add_noise(const diffusion::NoiseSchedule& schedule, const torch::Tensor& clean,
                     at::Generator& generator, TimestepDraw draw);

/// Which training pictures a step shows.
class PictureDraw {
 public:
  /// `several`: share of the square pictures that are drawn from those with two or more subjects,
  /// the others from the rest; empty: each is as likely as any other. `data` is not copied. Throws
  /// kUsage for a share of pictures that `data` has none of.
  PictureDraw(const Dataset& data, std::optional<double> several);

  /// `count` pictures of a canvas, with repetitions: int64 [count]. With a share those with several
  /// subjects come first, as many in each draw as it says, rounded by lot.
  torch::Tensor indices(std::size_t canvas, std::int64_t count, at::Generator& generator) const;

 private:
  void sort_squares(double several);

  const Dataset& data_;
  std::optional<double> several_;
  torch::Tensor with_several_, others_;  // int64, of the squares; undefined without a share
};

struct CaptionDraw {
  double empty = 0.1;      ///< Share of captions that are left empty, for guidance.
  std::size_t canvas = 0;  ///< Of the pictures.
};

/// Captions of the training pictures `indices` [B], each told in words of its own at every step.
std::vector<std::string> draw_captions(const Dataset& data, const torch::Tensor& indices,
                                       std::int64_t seed, std::int64_t step,
                                       const CaptionDraw& draw);

}  // namespace mos::pretrain
