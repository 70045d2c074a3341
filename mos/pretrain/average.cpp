#include "mos/pretrain/average.h"

#include "mos/base/error.h"
#include "mos/io/safetensors.h"
#include "mos/io/state_dict.h"
#include "mos/pretrain/export.h"
#include "mos/pretrain/stage.h"
#include "mos/pretrain/unet_training.h"

namespace mos::pretrain {

using checkpoint::Part;

AverageOptions kept_average(const std::filesystem::path& base) {
  return kept_options(base / kAverageFolder, AverageOptions{.share = 1.0});
}

void average(torch::nn::Module& network, Part part, const AverageOptions& options) {
  if (options.share == 1.0) return;
  const torch::NoGradGuard no_grad;
  auto trained = io::state_dict_of(network);
  for (auto& [name, tensor] : trained) tensor = tensor.clone();
  const auto path = options.with / weights_file(part);
  io::load_into(network, io::load_safetensors(path), {.origin = path.string()});
  for (const auto& [name, tensor] : io::state_dict_of(network)) {
    if (tensor.is_floating_point()) tensor.lerp_(trained.at(name), options.share);
  }
}

void average_with(const std::filesystem::path& base, const AverageOptions& options) {
  if (options.with.empty()) {
    throw Error(ErrorKind::kUsage, "mos pretrain average needs --with, the base to average with");
  }
  check_fields(options);
  // What does not fit is refused before it is kept.
  average(*load_unet(base, torch::kFloat32), Part::kUNet, options);
  average(*load_text_tower(base, torch::kFloat32).encoder, Part::kTextEncoder, options);
  keep_options(base / kAverageFolder, write_options(options));
}

}  // namespace mos::pretrain
