#pragma once

#include <optional>

#include "mos/base/json.h"
#include "mos/io/tensor_file.h"

namespace mos::diffusion {

/// What a T2I-Adapter or a ControlNet is and which models it steers, from its tensors alone:
/// family, channels or text width, colour or grey pictures. Nothing for other files.
std::optional<Json> describe_adapter(const io::TensorFile& file);

}  // namespace mos::diffusion
