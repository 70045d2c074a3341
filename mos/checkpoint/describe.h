#pragma once

#include <filesystem>
#include <optional>

#include "mos/base/file.h"
#include "mos/base/json.h"
#include "mos/io/tensor_file.h"

/// What `mos inspect` says of models and their parts.
namespace mos::checkpoint {

/// Kind, family and properties of a file that is a model or a part of one, and of a model what can
/// be used with it; nothing for others.
std::optional<Json> describe_model(const io::TensorFile& file);

/// The same of a diffusers directory. Throws mos::Error: kIo, kFormat for damaged files.
Json describe_model_folder(const std::filesystem::path& directory);
bool is_model_folder(const std::filesystem::path& directory);

/// A model in one file, as describe_model knows it.
FileKind model_file_kind();

/// The weights of a folder that holds one network, such as an adapter.
/// Throws mos::Error(kFormat) when there are none.
std::filesystem::path weights_in(const std::filesystem::path& directory);

/// What can be said of any file: format, number of tensors and parameters, number types, bytes.
Json describe_tensors(const io::TensorFile& file);

}  // namespace mos::checkpoint
