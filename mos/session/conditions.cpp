#include "mos/session/conditions.h"

#include <fmt/core.h>

#include "mos/base/error.h"
#include "mos/base/sha256.h"
#include "mos/io/image.h"

namespace mos::session {

namespace fs = std::filesystem;

namespace {

/// The weights of a folder, or the file itself.
std::string adapter_hash(const fs::path& path) {
  if (!fs::is_directory(path)) return file_hash(path);
  std::string all;
  for (const auto* name :
       {"config.json", "diffusion_pytorch_model.safetensors",
        "diffusion_pytorch_model.fp16.safetensors", "diffusion_pytorch_model.bin"}) {
    if (fs::exists(path / name)) all += file_hash(path / name);
  }
  return sha256_of(all);
}

/// Notes a hash; one that is there already must be the same.
void take_hash(const std::string& what, const std::string& actual, std::string& noted) {
  check_hash(what, noted, actual);
  noted = actual;
}

}  // namespace

void read_conditions(Outputs& outputs, const region::Scene& scene) {
  for (const auto& condition : scene.conditions) {
    outputs.read("--adapter", condition.adapter);
    outputs.read("--condition", condition.picture);
  }
}

std::vector<region::LoadedCondition> load_conditions(const Session& session, region::Scene& scene) {
  std::vector<region::LoadedCondition> loaded;
  for (auto& condition : scene.conditions) {
    auto one = region::load_condition(condition, session.model, scene.canvas.value());
    take_hash("the adapter " + condition.adapter, adapter_hash(condition.adapter),
              condition.adapter_sha256);
    take_hash("the condition picture " + condition.picture, file_hash(condition.picture),
              condition.picture_sha256);
    loaded.push_back(std::move(one));
  }
  return loaded;
}

}  // namespace mos::session
