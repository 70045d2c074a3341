#include "mos/pretrain/average.h"

#include <fmt/core.h>

#include <array>
#include <map>
#include <memory>

#include "mos/base/error.h"
#include "mos/base/file.h"
#include "mos/base/sha256.h"
#include "mos/io/safetensors.h"
#include "mos/io/state_dict.h"
#include "mos/pretrain/export.h"
#include "mos/pretrain/stage.h"
#include "mos/pretrain/unet_training.h"

namespace mos::pretrain {

using checkpoint::Part;
namespace fs = std::filesystem;

namespace {

constexpr std::array kAveraged = {Part::kUNet, Part::kTextEncoder};
constexpr const char* kFolder = "average";
constexpr const char* kHashes = "sha256.json";  // of what is averaged with, by part

AverageOptions kept(const fs::path& base) {
  return kept_options(base / kFolder, AverageOptions{.share = 1.0});
}

std::string hash_of(const fs::path& file) { return sha256_of(read_whole_file(file)); }

std::map<Part, std::shared_ptr<torch::nn::Module>> untrained(const fs::path& base) {
  return {{Part::kUNet, untrained_unet(base).ptr()},
          {Part::kTextEncoder, untrained_encoder(base).ptr()}};
}

/// What was named may have been replaced since, by the very average for example.
void check_same(const fs::path& weights, Part part, const fs::path& base) {
  const auto hashes = read_json_file(base / kFolder / kHashes);
  const auto wanted = json_required<std::string>(hashes, std::string(folder_of(part)));
  if (hash_of(weights) == wanted) return;
  throw Error(ErrorKind::kMismatch,
              fmt::format("{} has changed since {} was averaged with it; name the base again with "
                          "`mos pretrain average`, or take the average back with --share 1",
                          weights.string(), base.string()));
}

}  // namespace

double share_of_training(const fs::path& base) { return kept(base).share; }

void average(torch::nn::Module& network, Part part, const fs::path& base) {
  const auto options = kept(base);
  if (options.share == 1.0) return;
  const auto path = fs::path(options.with) / weights_file(part);
  check_same(path, part, base);
  const torch::NoGradGuard no_grad;
  auto trained = io::state_dict_of(network);
  for (auto& [name, tensor] : trained) tensor = tensor.clone();
  io::load_into(network, io::load_safetensors(path), {.origin = path.string()});
  for (const auto& [name, tensor] : io::state_dict_of(network)) {
    if (tensor.is_floating_point()) tensor.lerp_(trained.at(name), options.share);
  }
}

void average_with(const fs::path& base, const AverageOptions& options) {
  check_fields(options);
  const auto networks = untrained(base);  // what does not fit is refused before it is kept
  Json hashes = Json::object();
  if (options.share < 1.0) {
    if (options.with.empty()) {
      throw Error(ErrorKind::kUsage, "mos pretrain average needs --with, the base to average with");
    }
    for (const auto part : kAveraged) {
      const auto path = fs::path(options.with) / weights_file(part);
      io::load_into(*networks.at(part), io::load_safetensors(path), {.origin = path.string()});
      hashes[std::string(folder_of(part))] = hash_of(path);
    }
  }
  keep_options(base / kFolder, write_options(options));
  write_json(base / kFolder / kHashes, hashes);
}

}  // namespace mos::pretrain
