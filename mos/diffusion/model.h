#pragma once

#include <torch/types.h>

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "mos/base/file.h"
#include "mos/base/json.h"
#include "mos/checkpoint/checkpoint.h"
#include "mos/checkpoint/family.h"
#include "mos/diffusion/noise_schedule.h"
#include "mos/diffusion/text_tower.h"
#include "mos/nn/unet.h"
#include "mos/nn/vae.h"

namespace mos::diffusion {

struct PipelineOptions {
  /// Of all networks; empty: each weight as its file has it.
  std::optional<torch::ScalarType> dtype = torch::kFloat32;
  torch::Device device = torch::kCPU;
  checkpoint::ReadOptions read;
};

/// How a model goes to its place.
struct SaveOptions {
  Existing existing = Existing::kRefuse;
  checkpoint::WriteOptions write;
};

/// What a model is built from.
struct ModelSettings {
  std::map<checkpoint::Part, Json> configs;  ///< The config.json of every network.
  Json scheduler_config;                     ///< What make_scheduler() reads.
};

/// A Stable Diffusion model of the families 1.x and 2.x. The networks are handles: copies of this
/// struct share them, so a copy is no second model. Networks may compute in several threads at the
/// same time while nobody changes them; merging, attaching, adding words, moving and saving want
/// the model for themselves.
struct Model {
  checkpoint::Family family = checkpoint::Family::kSd1;
  std::vector<TextTower> towers;  ///< In the order in which the U-Net reads them; at least one.
  nn::UNet2DConditionModel unet{nullptr};
  nn::AutoencoderKL vae{nullptr};
  NoiseSchedule schedule;  ///< That of settings.scheduler_config.

  ModelSettings settings;
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
  static Model load(const std::filesystem::path& path, const PipelineOptions& options = {});

  /// The model of `path` without memory for its weights: names and shapes only, checked as load
  /// checks them. Throws as load does.
  static Model shapes(const std::filesystem::path& path, const checkpoint::ReadOptions& read = {});

  /// A model of these configs with uninitialised weights, for training from nothing.
  /// Throws as load does.
  static Model create(text::CLIPTokenizer tokenizer, ModelSettings settings);

  /// Writes a directory, or a single file where `path` ends in .safetensors: the same bytes for the
  /// same model, complete or not at all. Concept rows of the text encoder become rows of its token
  /// embedding, as transformers has them.
  /// Throws mos::Error: kUsage if the place is taken (unless to be replaced, and by a model) or if
  /// LoRA is attached to a network, kIo when writing fails, kCancelled.
  void save(const std::filesystem::path& path, Existing existing = Existing::kRefuse) const;
  void save(const std::filesystem::path& path, const SaveOptions& options) const;

  /// The network that is stored as `part`. Throws std::out_of_range for one that it lacks.
  std::shared_ptr<torch::nn::Module> network(checkpoint::Part part) const;
  /// The networks that a concept changes: towers and U-Net, in the order of Part.
  std::vector<checkpoint::Part> tuned_parts() const;
  /// The tokenizer of prompts, for whoever only counts or finds tokens: that of the first tower.
  const text::CLIPTokenizer& tokenizer() const { return towers.front().tokenizer; }

  /// Those of the U-Net.
  torch::Device device() const;
  torch::ScalarType dtype() const;

  /// Whether the U-Net reads a mask and a masked picture beside the sample (9 channels for 4): it
  /// was made for painting into pictures.
  bool paints_into_pictures() const;

  /// Pixels for each latent position along one side.
  std::int64_t downscale() const { return vae->config().downscale(); }
};

/// Writes as Model::save does, without ever making networks: memory is one tensor.
void save_checkpoint(checkpoint::Checkpoint stored, const std::filesystem::path& path,
                     const SaveOptions& options);

/// Throws what Model::load would throw for these settings and tensors.
void check_checkpoint(const checkpoint::Checkpoint& stored);

/// SHA-256 over names, shapes and values of the weights of all networks, as 64 hexadecimal digits:
/// tells whether a concept belongs to a base model. Values are hashed as bfloat16, so a model has
/// one hash whether it was loaded in float32, float16 (from a float16 file) or bfloat16. Attached
/// LoRA and concept rows do not count.
std::string model_hash(const Model& model);

}  // namespace mos::diffusion
