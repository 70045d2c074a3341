#pragma once

#include <torch/types.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>

#include "mos/base/file.h"

/// Pictures as tensors. Heights come before widths; pixels are uint8 [H, W, C] with C = 1, 3 or 4
/// unless said otherwise.
namespace mos::io {

struct Image {
  torch::Tensor pixels;                     ///< uint8 [H, W, C], C = 1 (grey), 3 (RGB) or 4 (RGBA).
  std::map<std::string, std::string> text;  ///< PNG text by keyword, as UTF-8.
};

/// Reads a PNG, JPEG or WebP picture, recognised by its content. 16-bit samples become 8-bit,
/// palettes become RGB(A), and the picture is turned as its EXIF block asks (see exif.h).
/// Throws mos::Error: kIo when the file cannot be opened, kFormat when it is not a whole picture.
Image read_image(const std::filesystem::path& path);

/// The same from bytes in memory; `origin` names them in messages.
Image decode_image(std::string_view bytes, const std::string& origin);

/// A PNG file in memory: the same bytes for the same input. ASCII texts become tEXt chunks, other
/// UTF-8 iTXt chunks. Throws mos::Error(kUsage) for pixels of another kind or keywords that are
/// not 1-79 printable ASCII characters.
std::string encode_png(const torch::Tensor& pixels,
                       const std::map<std::string, std::string>& text = {});

/// Writes encode_png(...) in one step. Throws also kIo.
void write_png(const std::filesystem::path& path, const torch::Tensor& pixels,
               const std::map<std::string, std::string>& text = {}, const FileRules& rules = {});

/// Resizing of [H, W, C] or [H, W] tensors; uint8 stays uint8 (rounded), float32 stays float32.
/// All but nearest widen their filter when they shrink, so nothing aliases (as Pillow does).
torch::Tensor resize_nearest(const torch::Tensor& image, std::int64_t height, std::int64_t width);
torch::Tensor resize_area(const torch::Tensor& image, std::int64_t height, std::int64_t width);
torch::Tensor resize_bilinear(const torch::Tensor& image, std::int64_t height, std::int64_t width);
/// Bytes as Pillow makes them, within one level.
torch::Tensor resize_lanczos(const torch::Tensor& image, std::int64_t height, std::int64_t width);

/// uint8 [H, W, 3] whatever the channels were: grey is repeated, transparent pixels are laid over
/// white.
torch::Tensor to_rgb(const torch::Tensor& pixels);

/// float32 [3, H, W] in -1…1, as the VAE takes it.
torch::Tensor to_float_chw(const Image& image);

/// [C, H, W] or [1, C, H, W] in -1…1 (clamped), any float dtype and device, to uint8 [H, W, C].
torch::Tensor to_uint8_hwc(const torch::Tensor& chw);

/// Pictures of one size beside each other in rows of `columns` with `gap` white pixels between
/// them; empty places are white. Throws mos::Error(kUsage) when sizes differ or there are none.
torch::Tensor make_grid(std::span<const torch::Tensor> images, std::int64_t columns,
                        std::int64_t gap = 0);

}  // namespace mos::io
