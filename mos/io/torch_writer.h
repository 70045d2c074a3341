#pragma once

#include <filesystem>

#include "mos/base/file.h"
#include "mos/io/torch_file.h"

namespace mos::io {

/// Writes `value` as torch.save does: a zip archive without compression that holds a pickle
/// (protocol 2) and one entry for each tensor, which torch.load(weights_only=True) reads. Tensors
/// become contiguous, each with a storage of its own, aligned to 64 bytes. The same bytes for the
/// same value, complete or not at all.
/// Throws mos::Error: kUsage for a dtype that such files do not have or for more than 4 GiB, kIo
/// when writing fails.
void save_torch_file(const std::filesystem::path& path, const TorchValue& value,
                     const FileRules& rules = {});

/// A nested dictionary from names with '/' between the levels: the inverse of flatten_tensors().
/// Throws mos::Error(kUsage) if one name is the beginning of another.
TorchValue nest_tensors(const StateDict& dict);

}  // namespace mos::io
