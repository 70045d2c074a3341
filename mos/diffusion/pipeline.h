#pragma once

#include <torch/types.h>

#include <filesystem>
#include <map>
#include <optional>
#include <string>

#include "mos/base/file.h"
#include "mos/base/json.h"
#include "mos/checkpoint/checkpoint.h"
#include "mos/nn/clip.h"
#include "mos/nn/unet.h"
#include "mos/nn/vae.h"
#include "mos/text/clip_tokenizer.h"

namespace mos::diffusion {

struct PipelineOptions {
  /// Of all three networks; empty: each weight as its file has it.
  std::optional<torch::ScalarType> dtype = torch::kFloat32;
  torch::Device device = torch::kCPU;
  checkpoint::ReadOptions read;
};

/// How a model goes to its place.
struct SaveOptions {
  Existing existing = Existing::kRefuse;
  checkpoint::WriteOptions write;
};

/// A Stable Diffusion model of the families 1.x and 2.x. The networks are handles: copies of this
/// struct share them.
struct StableDiffusion {
  text::CLIPTokenizer tokenizer;
  nn::CLIPTextModel text_encoder{nullptr};
  nn::AutoencoderKL vae{nullptr};
  nn::UNet2DConditionModel unet{nullptr};

  Json scheduler_config;
  Json text_encoder_config;
  Json vae_config;
  Json unet_config;
  Json model_index;
  /// new_concept_cfg.json, the concept words of a model with fused concepts; null without.
  Json concepts;

  /// JSON files as they were read, by path inside the directory: save() writes these bytes back
  /// where the value is still the same.
  std::map<std::string, std::string> source_texts;
  /// Folders of parts that we have no use for (safety checker, feature extractor): save() copies
  /// them.
  std::map<std::string, std::filesystem::path> other_parts;

  /// Reads a diffusers directory or a single file, of any float dtype (docs/formats.md). Memory is
  /// that of the networks and one tensor more.
  /// Throws mos::Error naming the file: kIo for a missing part, kFormat for impossible values,
  /// kMismatch for parts that do not fit their config or each other, or for another family.
  static StableDiffusion load(const std::filesystem::path& path,
                              const PipelineOptions& options = {});

  /// The model of `path` without memory for its weights: names and shapes only, checked as load
  /// checks them. Throws as load does.
  static StableDiffusion shapes(const std::filesystem::path& path,
                                const checkpoint::ReadOptions& read = {});

  /// A model of these configs with uninitialised weights, for training from nothing.
  /// Throws as load does.
  static StableDiffusion create(text::CLIPTokenizer tokenizer, const Json& text_encoder_config,
                                const Json& vae_config, const Json& unet_config,
                                const Json& scheduler_config);

  /// Writes a directory, or a single file where `path` ends in .safetensors: the same bytes for the
  /// same model, complete or not at all. Concept rows of the text encoder become rows of its token
  /// embedding, as transformers has them.
  /// Throws mos::Error: kUsage if the place is taken (unless to be replaced, and by a model) or if
  /// LoRA is attached to a network, kIo when writing fails, kCancelled.
  void save(const std::filesystem::path& path, Existing existing = Existing::kRefuse) const;
  void save(const std::filesystem::path& path, const SaveOptions& options) const;

  torch::Device device() const;
  torch::ScalarType dtype() const;

  /// Whether the U-Net reads a mask and a masked picture beside the sample (9 channels for 4): it
  /// was made for painting into pictures.
  bool paints_into_pictures() const;

  /// Pixels for each latent position along one side.
  std::int64_t downscale() const { return vae->config().downscale(); }
};

/// Writes as StableDiffusion::save does, without ever making networks: memory is one tensor.
void save_checkpoint(checkpoint::Checkpoint stored, const std::filesystem::path& path,
                     const SaveOptions& options);

/// Throws what StableDiffusion::load would throw for these settings and tensors.
void check_checkpoint(const checkpoint::Checkpoint& stored);

/// SHA-256 over names, shapes and values of the weights of all networks, as 64 hexadecimal digits:
/// tells whether a concept belongs to a base model. Values are hashed as bfloat16, so a model has
/// one hash whether it was loaded in float32, float16 (from a float16 file) or bfloat16. Attached
/// LoRA and concept rows do not count.
std::string model_hash(const StableDiffusion& model);

}  // namespace mos::diffusion
