#pragma once

#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "mos/concepts/lora_names.h"
#include "mos/io/tensor_file.h"

/// Files of cloneofsimo/lora, the paper's reference [3], which name layers by numbers (see
/// numbered_layers.h): safetensors with keys `unet:0:up` and words beside them, or lists
/// [up, down, up, down, …] of torch.save with one network each.
namespace mos::concepts {

struct NumberedKeys {
  std::map<std::string, LoraKey> layers;
  std::set<std::string> words;
  /// The file's own, without what only this layout needs.
  std::map<std::string, std::string> metadata;
  std::string unknown_classes;  ///< Modules whose layers are not known, for messages.

  /// Why a key of the file has no meaning.
  std::string why_not(const std::string& key) const;
};

/// What the keys of `file` mean; no layers and no words when it is none of these files.
NumberedKeys read_numbered_keys(const io::TensorFile& file);

/// The files that cloneofsimo/lora writes and reads beside the U-Net's list NAME.pt: those that are
/// there of the list of the text encoder and NAME.ti.pt. Empty for every other file.
std::vector<std::filesystem::path> companions_of(const io::TensorFile& file);

}  // namespace mos::concepts
