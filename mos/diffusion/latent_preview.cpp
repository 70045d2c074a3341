#include "mos/diffusion/latent_preview.h"

#include <ATen/Functions.h>
#include <fmt/core.h>

#include "mos/base/error.h"
#include "mos/base/random.h"
#include "mos/checkpoint/parts.h"
#include "mos/nn/ops.h"

namespace mos::diffusion {

using torch::Tensor;

namespace {

using Rows = std::vector<std::vector<double>>;

Tensor as_tensor(const std::vector<double>& values) {
  return torch::tensor(values, torch::kFloat64).to(torch::kFloat32);
}

/// The VAE that all models of Stable Diffusion 1.x and 2.x share, by its config: finetuned ones
/// have changed its decoder alone.
bool is_known(const nn::VaeConfig& config) {
  const nn::VaeConfig known;
  return config.latent_channels == known.latent_channels &&
         config.block_out_channels == known.block_out_channels &&
         config.layers_per_block == known.layers_per_block &&
         config.scaling_factor == known.scaling_factor;
}

/// Published in discuss.huggingface.co/t/23204, "Decoding latents to RGB without upscaling".
LatentColours known_colours() {
  const auto rows = torch::tensor(
      {0.298, 0.207, 0.208, 0.187, 0.286, 0.173, -0.158, 0.189, 0.264, -0.184, -0.271, -0.473},
      torch::kFloat32);
  return {rows.view({4, 3}).t().contiguous(), torch::zeros({3})};
}

}  // namespace

Json LatentColours::to_json() const {
  Json rows = Json::array(), offset = Json::array();
  const auto number = [](const Tensor& value) { return value.item<double>(); };
  for (std::int64_t c = 0; c < weights.size(1); ++c) {
    rows.push_back({number(weights[0][c]), number(weights[1][c]), number(weights[2][c])});
  }
  for (std::int64_t i = 0; i < bias.size(0); ++i) offset.push_back(number(bias[i]));
  return {{"weights", rows}, {"bias", offset}};
}

LatentColours LatentColours::from_json(const Json& json, std::int64_t channels,
                                       const std::string& origin) {
  constexpr std::size_t kColours = 3;
  const auto rows = json_value<Rows>(json, "weights", {});
  const auto offset = json_value<std::vector<double>>(json, "bias", {});
  bool fits = static_cast<std::int64_t>(rows.size()) == channels && offset.size() == kColours;
  for (const auto& row : rows) fits = fits && row.size() == kColours;
  if (!fits) {
    throw Error(ErrorKind::kFormat,
                fmt::format("{} must have \"weights\", three colours for each of {} channels, and "
                            "\"bias\", three numbers; take the file away to have it fitted",
                            origin, channels));
  }
  std::vector<Tensor> channels_of;
  for (const auto& row : rows) channels_of.push_back(as_tensor(row));
  return {torch::stack(channels_of, 1).contiguous(), as_tensor(offset)};
}

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

LatentColours latent_colours_of(const Model& model) {
  const auto& config = model.vae->config();
  const auto stored = model.source_texts.find(checkpoint::kLatentColoursFile);
  if (stored != model.source_texts.end()) {
    return LatentColours::from_json(parse_json(stored->second, stored->first),
                                    config.latent_channels, stored->first);
  }
  return is_known(config) ? known_colours() : fit_latent_colours(model.vae);
}

}  // namespace mos::diffusion
