#include "tests/support/golden.h"

#include <cstdlib>

namespace mos::golden {

std::filesystem::path directory() {
  const char* chosen = std::getenv("MOS_GOLDEN");
  if (chosen != nullptr && *chosen != '\0') return chosen;
  return std::filesystem::path(MOS_SOURCE_DIR) / "tests/golden/data";
}

std::optional<std::filesystem::path> find(const std::string& name) {
  const auto path = directory() / name;
  if (!std::filesystem::exists(path)) return std::nullopt;
  return path;
}

std::string missing(const Names& names) {
  std::string lacking;
  for (const auto& name : names) {
    if (!find(name)) lacking += (lacking.empty() ? "not there: " : ", ") + name;
  }
  return lacking;
}

Names model_and(Names more) {
  for (const char* file :
       {"model_index.json", "text_encoder/config.json", "text_encoder/model.safetensors",
        "unet/config.json", "unet/diffusion_pytorch_model.safetensors", "vae/config.json",
        "vae/diffusion_pytorch_model.safetensors", "scheduler/scheduler_config.json",
        "tokenizer/vocab.json", "tokenizer/merges.txt", "tokenizer/tokenizer_config.json"}) {
    more.push_back(std::string("tiny_sd/") + file);
  }
  return more;
}

double tolerance(const std::string& quantity, double fallback_floor) {
  constexpr double kAllowedFloors = 20.0;
  if (const auto path = find("noise_floor.json")) {
    const auto floors = read_json_file(*path);
    if (floors.contains(quantity) && floors[quantity].contains("max_abs")) {
      return kAllowedFloors * floors[quantity]["max_abs"].get<double>();
    }
  }
  return kAllowedFloors * fallback_floor;
}

double max_abs_difference(const torch::Tensor& actual, const torch::Tensor& expected) {
  EXPECT_EQ(actual.sizes(), expected.sizes());
  if (actual.sizes() != expected.sizes()) return 1e30;
  if (actual.numel() == 0) return 0.0;
  return (actual.detach().to(torch::kFloat64) - expected.to(torch::kFloat64))
      .abs()
      .max()
      .item<double>();
}

}  // namespace mos::golden
