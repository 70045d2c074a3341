#pragma once

#include <array>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "mos/checkpoint/checkpoint.h"

/// The small files of a diffusers directory.
namespace mos::checkpoint {

inline constexpr const char* kIndexFile = "model_index.json";
inline constexpr const char* kSchedulerFile = "scheduler/scheduler_config.json";
inline constexpr const char* kConceptsFile = "new_concept_cfg.json";
inline constexpr const char* kTokenizerFolder = "tokenizer";
/// Not read here, but kept with a model that has them: diffusion/latent_preview.h and
/// jobs::sample_job.
inline constexpr const char* kLatentColoursFile = "vae/latent_colours.json";
inline constexpr const char* kSampleDefaultsFile = "sample_defaults.json";
inline constexpr std::array kKeptFiles = {kLatentColoursFile, kSampleDefaultsFile};
/// What a base model's folder says of tuning on it: tune::method_options.
inline constexpr const char* kTuneDefaultsFile = "tune_defaults.json";
/// The text of one of kKeptFiles in the model at `path`, a directory or a single file of ours;
/// nothing where it has none, or where there is no model. Throws kIo or kFormat for what cannot be
/// read.
std::optional<std::string> kept_text(const std::filesystem::path& path, const std::string& name);

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
