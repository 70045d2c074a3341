#include "mos/diffusion/random_model.h"

#include <fmt/core.h>

#include <cmath>
#include <map>
#include <string>
#include <string_view>

#include "mos/base/random.h"
#include "mos/diffusion/model.h"
#include "mos/nn/parameter.h"

namespace mos::diffusion {

using checkpoint::Part;

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

/// A generator's seed for every parameter, by its key with the folder in front: each can be drawn
/// by itself, whatever is written before it.
using Seeds = std::map<std::string, std::uint64_t>;

void add_seeds(Seeds& seeds, std::uint64_t first, std::string_view folder,
               const torch::nn::Module& network) {
  for (const auto& item : network.named_parameters()) {
    seeds.emplace(fmt::format("{}/{}", folder, item.key()), first + seeds.size());
  }
}

Seeds seeds_of(const Model& model, std::uint64_t seed) {
  // Seeds of two runs are far apart, those of one run follow each other.
  constexpr std::uint64_t kTensorsOfAModel = 1 << 20;
  const auto first = seed * kTensorsOfAModel;
  Seeds seeds;
  // In this order a seed has always numbered them.
  for (const auto part : {Part::kTextEncoder, Part::kVae, Part::kUNet}) {
    add_seeds(seeds, first, folder_of(part), *model.network(part));
  }
  return seeds;
}

}  // namespace

void write_random_model(const std::filesystem::path& path, const checkpoint::ModelConfigs& configs,
                        const RandomModelOptions& options) {
  const nn::ShapesOnly no_memory;
  const auto model =
      Model::create(text::CLIPTokenizer::clip(),
                    {.configs = configs.networks, .scheduler_config = configs.scheduler});
  const auto seeds = seeds_of(model, options.seed);
  const auto values = [&](const std::string& key, const torch::Tensor& stored) {
    const auto seed = seeds.find(key);
    if (seed == seeds.end()) return stored;  // a buffer
    auto generator = seeded_generator(seed->second);
    return random_values(key, stored.sizes(), generator);
  };
  model.save(
      path,
      SaveOptions{.existing = Existing::kRefuse,
                  .write = {.dtype = options.dtype, .values = values, .cancel = options.cancel}});
}

}  // namespace mos::diffusion
