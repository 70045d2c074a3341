#include "mos/pretrain/caption_swaps.h"

#include <algorithm>
#include <array>

#include "mos/base/random.h"
#include "mos/diffusion/noise_schedule.h"
#include "mos/pretrain/compute.h"
#include "mos/pretrain/trainer.h"
#include "mos/pretrain/unet_training.h"

namespace mos::pretrain {

using torch::Tensor;
using world::Split;

namespace {

constexpr std::array<std::int64_t, 4> kTimesteps = {350, 500, 650, 800};
constexpr std::int64_t kSwapBatch = 32;

struct Trial {
  diffusion::Model model;
  const Dataset& data;
  std::int64_t seed;

  /// Denoising error of each picture with its caption, summed over the timesteps: [B].
  Tensor errors(const Tensor& indices, const std::vector<std::string>& captions) {
    std::vector<Tensor> parts;
    for (std::int64_t first = 0; first < indices.size(0); first += kSwapBatch) {
      const auto count = std::min(kSwapBatch, indices.size(0) - first);
      parts.push_back(errors_of_batch(indices.narrow(0, first, count),
                                      {captions.begin() + first, captions.begin() + first + count},
                                      first));
    }
    return torch::cat(parts);
  }

  Tensor errors_of_batch(const Tensor& indices, const std::vector<std::string>& captions,
                         std::int64_t first) {
    const auto device = device_of(*model.unet);
    const auto pictures = data.batch(Split::kHeldOut, indices, kCompute).to(device);
    const auto latents = model.vae->encode(pictures).mean * model.vae->config().scaling_factor;
    const auto clean = latents.to(torch::kCPU, torch::kFloat32);
    const auto context = encode_captions(model.towers.front(), captions);
    auto sum = torch::zeros({indices.size(0)});
    for (const auto t : kTimesteps) {
      // The same noise for both captions of a picture: what differs is what they say.
      auto generator = generator_of_step(seed, t, first);
      const auto noise = mos::randn(clean.sizes(), generator);
      const auto timesteps = torch::full({indices.size(0)}, t, torch::kInt64);
      const auto noisy = model.schedule.add_noise(clean, noise, timesteps);
      const auto output =
          model.unet->forward(noisy.to(device, kCompute), timesteps.to(device), context);
      const auto target = model.schedule.target(clean, noise, timesteps);
      sum += (output.to(torch::kCPU, torch::kFloat32) - target).square().flatten(1).mean(1);
    }
    return sum;
  }
};

}  // namespace

double prefers_own_caption(diffusion::Model model, const Dataset& data, const CaptionChange& change,
                           const SwapOptions& options) {
  const torch::NoGradGuard no_grad;
  std::vector<std::int64_t> indices;
  std::vector<std::string> own, changed;
  for (std::int64_t i = 0; i < data.size(Split::kHeldOut); ++i) {
    if (static_cast<std::int64_t>(indices.size()) == options.pictures) break;
    const auto spec = data.layout(Split::kHeldOut, i).caption;
    const auto other = change(spec);
    // This change does not apply to it.
    if (!other) continue;
    indices.push_back(i);
    own.push_back(world::caption_text(data.world(), spec));
    changed.push_back(world::caption_text(data.world(), *other));
  }
  if (indices.empty()) return 0.0;
  Trial trial{model, data, options.seed};
  const auto which = torch::tensor(indices);
  return (trial.errors(which, own) < trial.errors(which, changed))
      .to(torch::kFloat64)
      .mean()
      .item<double>();
}

}  // namespace mos::pretrain
