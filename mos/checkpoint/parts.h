#pragma once

#include <array>
#include <string>

#include "mos/checkpoint/checkpoint.h"

/// The networks of a model and where they lie in a diffusers directory.
namespace mos::checkpoint {

struct NetworkPart {
  const char* folder;
  const char* library;
  const char* class_name;
  const char* weights;      ///< File name without variant and ending.
  const char* old_weights;  ///< The same of files of torch.save (.bin).
  StoredNetwork Checkpoint::*stored;

  std::string config_file() const { return std::string(folder) + "/config.json"; }
};

inline constexpr std::array kNetworks = {
    NetworkPart{"text_encoder", "transformers", "CLIPTextModel", "model", "pytorch_model",
                &Checkpoint::text_encoder},
    NetworkPart{"vae", "diffusers", "AutoencoderKL", "diffusion_pytorch_model",
                "diffusion_pytorch_model", &Checkpoint::vae},
    NetworkPart{"unet", "diffusers", "UNet2DConditionModel", "diffusion_pytorch_model",
                "diffusion_pytorch_model", &Checkpoint::unet},
};

inline constexpr const char* kIndexFile = "model_index.json";
inline constexpr const char* kSchedulerFile = "scheduler/scheduler_config.json";
inline constexpr const char* kConceptsFile = "new_concept_cfg.json";
inline constexpr const char* kTokenizerFolder = "tokenizer";

/// The JSON files of a directory, by path: those as they were read where the value is the same.
std::map<std::string, std::string> settings_texts(const Checkpoint& checkpoint);

/// Whether single files hold tensors of this name beside the weights that a model is made of.
bool is_unused_key(const std::string& key);

/// A model_index.json for these parts.
Json model_index_of(const Json& scheduler_config);

/// A config as Python writes it: `-Infinity`, which is not JSON, reads as null (the default of the
/// only key that has it, lambda_min_clipped). Throws kFormat naming `origin`.
Json parse_config(std::string_view text, const std::string& origin);

/// Sets the settings of `checkpoint` from such files. Throws mos::Error: kIo naming a file that
/// is missing, kFormat for one that is no JSON object or for a network we do not build.
void take_settings(Checkpoint& checkpoint, const std::map<std::string, std::string>& texts);

}  // namespace mos::checkpoint
