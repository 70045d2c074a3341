#include "mos/diffusion/adapter.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <array>
#include <numeric>
#include <string_view>

#include "mos/base/error.h"
#include "mos/base/file.h"
#include "mos/base/log.h"
#include "mos/diffusion/adapter_names.h"
#include "mos/diffusion/model.h"
#include "mos/io/tensor_file.h"
#include "mos/nn/parameter.h"

namespace mos::diffusion {

namespace fs = std::filesystem;

namespace {

constexpr std::array kWeightFiles = {"diffusion_pytorch_model.safetensors",
                                     "diffusion_pytorch_model.fp16.safetensors",
                                     "diffusion_pytorch_model.bin"};

/// What lies on disk: tensors under diffusers' names, and the config of a folder.
struct StoredAdapter {
  fs::path origin;
  io::StateDict tensors;
  Json config;  ///< Null for a single file.
};

StoredAdapter read_stored(const fs::path& path) {
  if (!fs::exists(path)) {
    throw Error(ErrorKind::kIo,
                fmt::format("cannot load the adapter {}: there is no such folder or "
                            "file",
                            path.string()));
  }
  if (!fs::is_directory(path)) return {path, io::read_tensor_file(path).tensors, {}};
  if (!fs::exists(path / "config.json")) {
    throw Error(ErrorKind::kIo,
                fmt::format("cannot load the adapter {}: config.json is missing", path.string()));
  }
  for (const auto* name : kWeightFiles) {
    if (!fs::exists(path / name)) continue;
    return {path, io::read_tensor_file(path / name).tensors, read_json_file(path / "config.json")};
  }
  throw Error(ErrorKind::kIo, fmt::format("cannot load the adapter {}: it has no weights; expected "
                                          "one of {}",
                                          path.string(), fmt::join(kWeightFiles, ", ")));
}

[[noreturn]] void refuse(const fs::path& origin, const std::string& why) {
  throw Error(ErrorKind::kMismatch,
              fmt::format("the adapter {} does not fit this base model: {}; use one that was made "
                          "for its family",
                          origin.string(), why));
}

std::int64_t size_of(const io::StateDict& tensors, const std::string& key, std::int64_t dim) {
  const auto found = tensors.find(key);
  return found != tensors.end() && found->second.dim() > dim ? found->second.size(dim) : 0;
}

/// The config that these tensors of a T2I-Adapter follow from.
nn::T2IAdapterConfig t2i_config_of(const StoredAdapter& stored, std::int64_t downscale) {
  const auto& tensors = stored.tensors;
  const bool full = tensors.contains("adapter.conv_in.weight");
  nn::T2IAdapterConfig config;
  config.kind = full ? nn::T2IAdapterKind::kFull : nn::T2IAdapterKind::kLight;
  config.downscale_factor = downscale;
  config.channels.clear();
  // A level without an in_conv keeps its width, so the width is read where every level has it.
  const auto level_width = [&](std::size_t level) {
    const auto start = fmt::format("adapter.body.{}.", level);
    return full ? size_of(tensors, start + "resnets.0.block1.weight", 0)
                : size_of(tensors, start + "out_conv.weight", 0);
  };
  while (level_width(config.channels.size()) > 0) {
    config.channels.push_back(level_width(config.channels.size()));
  }
  config.num_res_blocks = 0;
  while (tensors.contains(
      fmt::format("adapter.body.0.resnets.{}.block1.weight", config.num_res_blocks))) {
    ++config.num_res_blocks;
  }
  const auto inputs =
      size_of(tensors, full ? "adapter.conv_in.weight" : "adapter.body.0.in_conv.weight", 1);
  // Pixels of a latent position become channels (pixel unshuffle).
  const auto grey = downscale * downscale;
  if (inputs != grey && inputs != 3 * grey) {
    refuse(stored.origin, fmt::format("it reads {} numbers for each latent position, expected {} "
                                      "of grey pictures or {} of colour",
                                      inputs, grey, 3 * grey));
  }
  config.in_channels = inputs / grey;
  config.check();
  return config;
}

/// Original files do not say that their ControlNet takes the mean over all positions; their names
/// do (ComfyUI goes by them, too).
bool is_shuffle(const fs::path& file) {
  const auto stem = file.stem().string();
  return stem.ends_with("_shuffle") || stem.ends_with("_shuffle_fp16");
}

/// Refuses a ControlNet for a U-Net of other blocks (as XL's) or other text (as that of 2.x).
void check_family(const StoredAdapter& stored, const nn::UNetConfig& unet) {
  std::int64_t skips = 0, text_width = 0;
  for (const auto& [key, tensor] : stored.tensors) {
    if (key.starts_with("controlnet_down_blocks.") && key.ends_with(".weight")) ++skips;
    if (key.ends_with("attn2.to_k.weight") && tensor.dim() == 2) text_width = tensor.size(1);
  }
  const auto& layers = unet.layers_per_block;
  const auto wanted =
      // conv_in, and for each level its resnets and, but for the last, a halving: layers + levels.
      std::accumulate(layers.begin(), layers.end(), static_cast<std::int64_t>(layers.size()));
  if (skips != wanted) {
    refuse(stored.origin,
           fmt::format("it steers {} skip connections, the U-Net has {}", skips, wanted));
  }
  // 0: it has no cross-attention to read a width from.
  if (text_width != 0 && text_width != unet.cross_attention_dim) {
    refuse(stored.origin, fmt::format("it reads text of width {}, the U-Net of width {}",
                                      text_width, unet.cross_attention_dim));
  }
}

nn::ControlNetConfig controlnet_config_of(const StoredAdapter& stored, const nn::UNetConfig& unet) {
  const auto& tensors = stored.tensors;
  nn::ControlNetConfig config;
  config.unet = unet;
  // That of an inpainting U-Net reads its mask, too; no ControlNet does.
  const auto channels = size_of(tensors, "conv_in.weight", 1);
  if (channels > 0) config.unet.in_channels = channels;
  config.global_pool_conditions = is_shuffle(stored.origin);
  const std::string embedding = "controlnet_cond_embedding.";
  config.conditioning_channels = size_of(tensors, embedding + "conv_in.weight", 1);
  auto& widths = config.conditioning_embedding_out_channels;
  widths = {size_of(tensors, embedding + "conv_in.weight", 0)};
  // Blocks come in pairs: one that keeps the size, one that halves it and widens.
  for (int block = 1;; block += 2) {
    const auto width = size_of(tensors, fmt::format("{}blocks.{}.weight", embedding, block), 0);
    if (width == 0) return config;
    widths.push_back(width);
  }
}

template <typename Network>
void fill(Network& network, StoredAdapter& stored, const Model& model) {
  io::load_into(
      *network, std::move(stored.tensors),
      {.origin = stored.origin.string(), .new_memory = model.device(), .new_dtype = model.dtype()});
  network->eval();
}

nn::T2IAdapter load_t2i(StoredAdapter stored, const Model& model) {
  stored.tensors = t2i_adapter_tensors(stored.tensors);
  const auto config = stored.config.is_null() ? t2i_config_of(stored, model.downscale())
                                              : nn::T2IAdapterConfig::from_json(stored.config);
  const auto& wanted = model.unet->config().block_out_channels;
  if (config.channels != wanted) {
    refuse(stored.origin, fmt::format("it gives features of {} channels, the U-Net has {}",
                                      fmt::join(config.channels, ", "), fmt::join(wanted, ", ")));
  }
  if (config.downscale_factor != model.downscale()) {
    refuse(stored.origin, fmt::format("it shrinks pictures {} times, the VAE {} times",
                                      config.downscale_factor, model.downscale()));
  }
  const nn::ShapesOnly no_memory;
  nn::T2IAdapter adapter(config);
  fill(adapter, stored, model);
  return adapter;
}

void drop_base_model(StoredAdapter& stored) {
  const auto dropped = std::erase_if(
      stored.tensors, [](const auto& entry) { return is_of_base_model(entry.first); });
  if (dropped == 0) return;
  log::info(fmt::format("{} also holds a base model ({} tensors), which is not used",
                        stored.origin.string(), dropped));
}

nn::ControlNetModel load_controlnet(StoredAdapter stored, const Model& model) {
  const auto& unet = model.unet->config();
  // Originals of ControlNet were saved with the model that they were trained on.
  if (stored.config.is_null()) drop_base_model(stored);
  stored.tensors = controlnet_tensors(stored.tensors, unet);
  check_family(stored, unet);
  const auto config = stored.config.is_null() ? controlnet_config_of(stored, unet)
                                              : nn::ControlNetConfig::from_json(stored.config);
  if (config.unet.block_out_channels != unet.block_out_channels) {
    refuse(stored.origin, fmt::format("its blocks have {} channels, the U-Net's {}",
                                      fmt::join(config.unet.block_out_channels, ", "),
                                      fmt::join(unet.block_out_channels, ", ")));
  }
  if (config.downscale() != model.downscale()) {
    refuse(stored.origin, fmt::format("it shrinks pictures {} times, the VAE {} times",
                                      config.downscale(), model.downscale()));
  }
  const nn::ShapesOnly no_memory;
  nn::ControlNetModel controlnet(config);
  fill(controlnet, stored, model);
  return controlnet;
}

}  // namespace

SpatialAdapter load_adapter(const fs::path& path, const Model& model) {
  auto stored = read_stored(path);
  if (is_controlnet(stored.tensors)) return load_controlnet(std::move(stored), model);
  if (is_t2i_adapter(stored.tensors)) return load_t2i(std::move(stored), model);
  throw Error(ErrorKind::kFormat,
              fmt::format("cannot use {} as an adapter: it holds neither a T2I-Adapter nor a "
                          "ControlNet; mos inspect says what it is",
                          path.string()));
}

std::int64_t picture_channels(const SpatialAdapter& adapter) {
  if (const auto* t2i = std::get_if<nn::T2IAdapter>(&adapter)) return (*t2i)->config().in_channels;
  return std::get<nn::ControlNetModel>(adapter)->config().conditioning_channels;
}

}  // namespace mos::diffusion
