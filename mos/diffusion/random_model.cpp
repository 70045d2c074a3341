#include "mos/diffusion/random_model.h"

#include <cmath>
#include <string_view>

#include "mos/base/random.h"
#include "mos/nn/parameter.h"

namespace mos::diffusion {
namespace {

/// Norms are the identity, biases zero, embeddings of CLIP's deviation, all others of 1/√fan-in.
torch::Tensor random_values(std::string_view name, at::IntArrayRef shape,
                            at::Generator& generator) {
  constexpr double kEmbeddingDeviation = 0.02;
  if (shape.size() == 1) return torch::full(shape, name.ends_with("weight") ? 1.0 : 0.0);
  auto values = randn(shape, generator);
  if (name.find("embeddings.") != std::string_view::npos) return values.mul_(kEmbeddingDeviation);
  const auto fan_in = static_cast<double>(values.numel() / shape.front());
  return values.div_(std::sqrt(fan_in));
}

void fill(torch::nn::Module& network, std::uint64_t& next_seed, torch::ScalarType dtype) {
  for (auto& item : network.named_parameters()) {
    auto generator = seeded_generator(next_seed++);
    auto& parameter = item.value();
    parameter.set_data(random_values(item.key(), parameter.sizes(), generator).to(dtype));
  }
  network.eval();
}

}  // namespace

StableDiffusion random_model(const checkpoint::ModelConfigs& configs,
                             const RandomModelOptions& options) {
  const torch::NoGradGuard no_grad;
  const nn::ShapesOnly no_memory;  // fill() gives each parameter its own
  auto model = StableDiffusion::create(text::CLIPTokenizer::clip(), configs.text_encoder,
                                       configs.vae, configs.unet, configs.scheduler);
  // Seeds of two runs are far apart, those of one run follow each other.
  constexpr std::uint64_t kTensorsOfAModel = 1 << 20;
  auto next_seed = options.seed * kTensorsOfAModel;
  fill(*model.text_encoder, next_seed, options.dtype);
  fill(*model.vae, next_seed, options.dtype);
  fill(*model.unet, next_seed, options.dtype);
  return model;
}

}  // namespace mos::diffusion
