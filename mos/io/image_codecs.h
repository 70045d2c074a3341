#pragma once

#include <string>
#include <string_view>

#include "mos/io/image.h"

/// One decoder for each kind of picture, which gives the pixels as they are stored; read_image
/// chooses among them and turns what comes back.
namespace mos::io {

/// Each throws mos::Error(kFormat) naming `origin` when `bytes` are damaged or too large.
Image decode_png(std::string_view bytes, const std::string& origin);
Image decode_jpeg(std::string_view bytes, const std::string& origin);
Image decode_webp(std::string_view bytes, const std::string& origin);

/// Pictures with more pixels than this are refused before memory is taken: that of the largest
/// sensors, and 800 MB as RGBA.
inline constexpr std::int64_t kMaxPixels = 200'000'000;

/// uint8 [height, width, channels]. Throws mos::Error(kFormat) beyond kMaxPixels.
torch::Tensor allocate_pixels(std::int64_t height, std::int64_t width, std::int64_t channels,
                              const std::string& origin);

/// Throws mos::Error(kFormat): "cannot read `origin`: `reason`".
[[noreturn]] void throw_damaged(const std::string& origin, const std::string& reason);

}  // namespace mos::io
