#include "mos/diffusion/latent_preview.h"

#include <ATen/Functions.h>

#include "mos/base/random.h"
#include "mos/nn/ops.h"

namespace mos::diffusion {

using torch::Tensor;

Tensor LatentColours::picture(const Tensor& latents) const {
  const auto one = (latents.dim() == 4 ? latents[0] : latents).to(torch::kCPU, torch::kFloat32);
  const auto colours = torch::matmul(weights, one.flatten(1)) + bias.unsqueeze(1);  // [3,h·w]
  const auto bytes = ((colours + 1.0) * 127.5).round().clamp(0, 255).to(torch::kUInt8);
  return bytes.view({3, one.size(1), one.size(2)}).permute({1, 2, 0}).contiguous();
}

LatentColours fit_latent_colours(const nn::AutoencoderKL& vae) {
  constexpr std::int64_t kSide = 32, kPatch = 4;  // latents, and those of one colour
  const torch::NoGradGuard no_grad;
  auto decoder = vae;
  auto generator = seeded_generator(0);
  const auto channels = decoder->config().latent_channels;
  const auto coarse = randn({1, channels, kSide / kPatch, kSide / kPatch}, generator);
  const auto latents = coarse.repeat_interleave(kPatch, 2).repeat_interleave(kPatch, 3);
  const auto weight = decoder->parameters().front();
  const auto compute = weight.options().dtype(nn::working_dtype(weight));
  const auto pixels =
      decoder->decode((latents / decoder->config().scaling_factor).to(compute)).clamp(-1, 1);
  const auto seen =
      at::adaptive_avg_pool2d(pixels.to(torch::kCPU, torch::kFloat32), {kSide, kSide});
  const auto inputs = torch::cat({latents[0].flatten(1), torch::ones({1, kSide * kSide})})
                          .to(torch::kFloat64);  // [C+1,N]
  const auto targets = seen[0].flatten(1).to(torch::kFloat64);
  constexpr double kRidge = 1e-6;
  const auto gram = torch::matmul(inputs, inputs.t()) +
                    kRidge * torch::eye(channels + 1, torch::kFloat64) * kSide * kSide;
  const auto fitted =
      at::linalg_solve(gram, torch::matmul(inputs, targets.t())).t().to(torch::kFloat32);
  return {fitted.slice(1, 0, channels).contiguous(), fitted.select(1, channels).contiguous()};
}

}  // namespace mos::diffusion
