#pragma once

#include <torch/types.h>

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

/// How cameras note which side of a picture is up.
namespace mos::io {

/// The orientation in the EXIF block of a JPEG, PNG or WebP file, 1 to 8 as in EXIF 2.3, table of
/// tag 274: APP1 of a JPEG, the chunk eXIf of a PNG, EXIF of a WebP, or the PNG text `Raw profile
/// type exif` that ImageMagick writes. `text` is the file's PNG text. 1 (upright) where nothing
/// readable says otherwise; never throws.
std::uint32_t exif_orientation(std::string_view file,
                               const std::map<std::string, std::string>& text = {});

/// [H, W, C] turned as `orientation` asks, contiguous; 1 and impossible values change nothing.
torch::Tensor upright(const torch::Tensor& pixels, std::uint32_t orientation);

}  // namespace mos::io
