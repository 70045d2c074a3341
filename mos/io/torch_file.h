#pragma once

#include <torch/types.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "mos/io/state_dict.h"

/// Files of torch.save (.pth, .bin, .ckpt), read without running anything that is in them.
namespace mos::io {

/// What such a file holds: plain values, tensors, lists (and tuples) and dictionaries.
/// Dictionary keys that are whole numbers become decimal text; entries under keys of other kinds
/// are left out.
struct TorchValue {
  using List = std::vector<TorchValue>;
  using Dict = std::vector<std::pair<std::string, TorchValue>>;

  std::variant<std::monostate, bool, std::int64_t, double, std::string, torch::Tensor, List, Dict>
      value;

  /// The entry of a dictionary; nullptr when this is none or lacks `key`.
  const TorchValue* find(std::string_view key) const;
};

/// Reads both layouts of torch.save: the zip archive (PyTorch 1.6 and later) and the older
/// sequence of pickles. Only tensors, parameters and plain containers are understood; a file that
/// names any other class or function is refused, and none is ever run. Tensors alias the mapped
/// file where alignment allows, and those that shared memory still do. Of an archive the pickle is
/// compared with its checksum here, the bytes of a tensor when check_stored() is called for it.
/// Throws mos::Error: kIo, or kFormat naming what is damaged or refused.
TorchValue read_torch_file(const std::filesystem::path& path);

/// All tensors in `value` by path, with '/' between the levels ("text_encoder/….lora_up.weight");
/// list entries count from 0, other values are left out.
/// Throws mos::Error(kFormat) when two tensors get the same name.
StateDict flatten_tensors(const TorchValue& value);

}  // namespace mos::io
