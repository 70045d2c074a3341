#pragma once

#include <array>
#include <string>
#include <string_view>

/// The networks that a model is made of.
namespace mos::checkpoint {

/// One of them: everything that is kept by network has this as its key. In the order of the
/// folders' names, which is that of model_index.json.
enum class Part { kTextEncoder, kUNet, kVae };

/// How a network is called and where it lies in a diffusers directory.
struct NetworkPart {
  Part part;
  const char* folder;
  const char* label;  ///< For people.
  const char* library;
  const char* class_name;
  const char* weights;      ///< File name without variant and ending.
  const char* old_weights;  ///< The same of files of torch.save (.bin).

  std::string config_file() const { return std::string(folder) + "/config.json"; }
};

/// A row for each part, in their order. Folders are also what keys of files and reports begin with.
inline constexpr auto kNetworks = std::to_array<NetworkPart>({
    {Part::kTextEncoder, "text_encoder", "text encoder", "transformers", "CLIPTextModel", "model",
     "pytorch_model"},
    {Part::kUNet, "unet", "U-Net", "diffusers", "UNet2DConditionModel", "diffusion_pytorch_model",
     "diffusion_pytorch_model"},
    {Part::kVae, "vae", "VAE", "diffusers", "AutoencoderKL", "diffusion_pytorch_model",
     "diffusion_pytorch_model"},
});

/// Those that a concept can change.
inline constexpr std::array kTunedParts = {Part::kTextEncoder, Part::kUNet};

constexpr const NetworkPart& row_of(Part part) { return kNetworks[static_cast<std::size_t>(part)]; }
/// "text_encoder", "unet", "vae".
constexpr std::string_view folder_of(Part part) { return row_of(part).folder; }
/// "text encoder", "U-Net", "VAE".
constexpr std::string_view name_of(Part part) { return row_of(part).label; }

}  // namespace mos::checkpoint
