#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "mos/io/safetensors.h"

/// The JSON header of a safetensors file, parsed and checked; no file, no tensor data.
namespace mos::io {

/// Longer headers are refused, as by the reference implementation (100 MB).
inline constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;

struct SafetensorsHeader {
  std::vector<TensorInfo> tensors;  ///< In the order of their data: adjacent, from 0 to the end.
  std::map<std::string, std::string> metadata;
};

/// Parses the header `json` of a file with `data_bytes` bytes after it.
/// Throws mos::Error(kFormat): "cannot read `origin`: …" with the first thing that is wrong.
SafetensorsHeader parse_safetensors_header(std::string_view json, std::uint64_t data_bytes,
                                           const std::string& origin);

/// The header of `tensors` as compact JSON, padded with spaces to a multiple of 8 bytes.
/// Throws mos::Error(kUsage) for a dtype that the format lacks or a name that is not UTF-8.
std::string format_safetensors_header(const SafetensorsHeader& header);

/// "F32", "BF16", …; nothing for a dtype that the format lacks.
std::optional<std::string_view> dtype_name(torch::ScalarType dtype);

}  // namespace mos::io
