#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "mos/concepts/lora_names.h"

/// Layers that files name by their place: in the numbering of the original code, or by a number
/// alone. Both are known for the blocks that Stable Diffusion 1.x and 2.x have.
namespace mos::concepts {

/// Whether a U-Net's layer is named as the original code does (CompVis ldm): `input_blocks.1.1.…`.
bool has_original_numbering(std::string_view layer);

/// The same layer as diffusers names it; empty when Stable Diffusion 1.x and 2.x have no such layer
/// (Stable Diffusion XL has the same names with other numbers).
std::string renumbered_layer(std::string_view layer);

/// The layers that cloneofsimo/lora tuned, in the order of its numbers: the linear layers of
/// modules of the classes that the file's metadata names (`CrossAttention`, `Attention`, `GEGLU`;
/// `CLIPAttention`), as the module tree of its time was walked. Source: lora_diffusion/lora.py,
/// _find_modules. Nothing for a class whose layers are not known.
std::optional<std::vector<std::string>> layers_of_classes(checkpoint::Part network,
                                                          const std::vector<std::string>& classes);

}  // namespace mos::concepts
