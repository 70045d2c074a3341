#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "mos/io/state_dict.h"

/// Any file of named tensors, whatever its format and its ending.
namespace mos::io {

/// What a file holds. The tensors alias its mapped pages, so that opening it reads only names,
/// types and shapes.
struct TensorFile {
  std::filesystem::path path;
  std::string format;  ///< "safetensors" or "torch.save".
  StateDict tensors;   ///< Of nested dictionaries by path, with '/' between the levels.
  /// Of safetensors its metadata; of torch.save the numbers and texts beside the tensors.
  std::map<std::string, std::string> metadata;
};

/// Reads safetensors and both layouts of torch.save, told apart by their first bytes. The level
/// that trainers put around everything (`state_dict`) is taken away; what is beside it (optimiser
/// states, callbacks) is left out, as it belongs to a training run.
/// Throws mos::Error: kIo, or kFormat naming what is damaged, refused or unknown.
TensorFile read_tensor_file(const std::filesystem::path& path);

}  // namespace mos::io
