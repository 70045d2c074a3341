#pragma once

#include <map>
#include <string>
#include <string_view>

#include "mos/checkpoint/checkpoint.h"

/// The small files of a diffusers directory.
namespace mos::checkpoint {

inline constexpr const char* kIndexFile = "model_index.json";
inline constexpr const char* kSchedulerFile = "scheduler/scheduler_config.json";
inline constexpr const char* kConceptsFile = "new_concept_cfg.json";
inline constexpr const char* kTokenizerFolder = "tokenizer";
/// Not read here, but kept with the model where it has one: diffusion/latent_preview.h.
inline constexpr const char* kLatentColoursFile = "vae/latent_colours.json";

/// What the network of a model predicts when its scheduler_config.json does not say.
inline constexpr const char* kDefaultPrediction = "epsilon";
/// The `prediction_type` of such a config.
std::string prediction_type_of(const Json& scheduler_config);

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
