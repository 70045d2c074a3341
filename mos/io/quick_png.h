#pragma once

#include <torch/types.h>

#include <map>
#include <string>

namespace mos::io {

/// As encode_png, in a fraction of its time and with more bytes: for pictures that are shown for a
/// moment. Quickest for rows that repeat the one above them.
std::string quick_png(const torch::Tensor& pixels,
                      const std::map<std::string, std::string>& text = {});

}  // namespace mos::io
