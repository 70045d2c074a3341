#include "mos/io/image.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "mos/base/error.h"
#include "mos/base/file.h"
#include "mos/io/exif.h"
#include "mos/io/image_codecs.h"
#include "mos/io/mapped_file.h"

namespace mos::io {
namespace {

constexpr std::string_view kPngSignature = "\x89PNG\r\n\x1a\n";
constexpr std::string_view kJpegSignature = "\xff\xd8\xff";

bool is_webp(std::string_view bytes) {
  return bytes.size() >= 12 && bytes.starts_with("RIFF") && bytes.substr(8, 4) == "WEBP";
}

/// The first bytes for a message: as text when printable, else in hexadecimal.
std::string beginning_of(std::string_view bytes) {
  const auto head = bytes.substr(0, 12);
  const auto printable = [](char c) { return c >= ' ' && c <= '~'; };
  if (std::all_of(head.begin(), head.end(), printable)) return fmt::format("\"{}\"", head);
  std::string text;
  for (const char c : head) {
    text += fmt::format("{}{:02x}", text.empty() ? "" : " ", static_cast<unsigned char>(c));
  }
  return text;
}

/// What programs call a picture of a kind that is not read here; empty where it is none.
std::string_view foreign_kind(std::string_view bytes) {
  using namespace std::string_view_literals;
  constexpr std::pair<std::string_view, std::string_view> kBeginnings[] = {
      {"GIF8"sv, "a GIF"},         {"BM"sv, "a BMP"},
      {"II*\0"sv, "a TIFF"},       {"MM\0*"sv, "a TIFF"},
      {"8BPS"sv, "a PSD"},         {"%PDF"sv, "a PDF"},
      {"<svg"sv, "an SVG"},        {"\0\0\1\0"sv, "an icon"},
      {"\xff\x0a"sv, "a JPEG XL"}, {"\0\0\0\x0cJXL "sv, "a JPEG XL"}};
  for (const auto& [beginning, kind] : kBeginnings) {
    if (bytes.starts_with(beginning)) return kind;
  }
  if (bytes.size() < 12 || bytes.substr(4, 4) != "ftyp") return {};
  return bytes.substr(8, 4).starts_with("avi") ? "an AVIF" : "an HEIC";
}

/// The pixels as they are stored.
Image decode(std::string_view bytes, const std::string& origin) {
  if (bytes.starts_with(kPngSignature)) return decode_png(bytes, origin);
  if (bytes.starts_with(kJpegSignature)) return decode_jpeg(bytes, origin);
  if (is_webp(bytes)) return decode_webp(bytes, origin);
  if (const auto kind = foreign_kind(bytes); !kind.empty()) {
    throw Error(
        ErrorKind::kFormat,
        fmt::format("{} is {}, and we read PNG, JPEG and WebP; convert it to PNG", origin, kind));
  }
  throw Error(ErrorKind::kFormat,
              fmt::format("{} is not a picture we can read (PNG, JPEG or WebP): {}", origin,
                          bytes.empty() ? "it is empty"
                                        : fmt::format("starts with {}", beginning_of(bytes))));
}

}  // namespace

void throw_damaged(const std::string& origin, const std::string& reason) {
  throw Error(ErrorKind::kFormat, fmt::format("cannot read {}: {}", origin, reason));
}

torch::Tensor allocate_pixels(std::int64_t height, std::int64_t width, std::int64_t channels,
                              const std::string& origin) {
  if (height < 1 || width < 1 || height > kMaxPixels / width) {
    throw_damaged(origin, fmt::format("a picture of {} x {} pixels is not possible or too large",
                                      width, height));
  }
  return torch::empty({height, width, channels}, torch::kUInt8);
}

Image read_image(const std::filesystem::path& path) {
  const MappedFile file(path);
  return decode_image(file.text(), path.string());
}

Image decode_image(std::string_view bytes, const std::string& origin) {
  auto image = decode(bytes, origin);
  image.pixels = upright(image.pixels, exif_orientation(bytes, image.text));
  return image;
}

void write_png(const std::filesystem::path& path, const torch::Tensor& pixels,
               const std::map<std::string, std::string>& text, const FileRules& rules) {
  write_text_file(path, encode_png(pixels, text), rules);
}

namespace {

/// Rows of a picture of this width that are computed with at a time: float32 takes four times the
/// memory of bytes, and a formula several copies of it.
std::int64_t rows_at_a_time(std::int64_t width) {
  constexpr std::int64_t kPixelsAtATime = std::int64_t{1} << 20;
  return std::max<std::int64_t>(1, kPixelsAtATime / std::max<std::int64_t>(1, width));
}

torch::Tensor over_white(const torch::Tensor& rgba) {
  const auto colour = rgba.slice(2, 0, 3).to(torch::kFloat32);
  const auto alpha = rgba.slice(2, 3, 4).to(torch::kFloat32) / 255.0;
  return (colour * alpha + 255.0 * (1.0 - alpha)).round().to(torch::kUInt8);
}

}  // namespace

torch::Tensor to_rgb(const torch::Tensor& pixels) {
  TORCH_CHECK(pixels.dim() == 3, "to_rgb takes [H, W, C], got ", pixels.sizes());
  const auto channels = pixels.size(2);
  if (channels == 3) return pixels;
  if (channels == 1) return pixels.expand({-1, -1, 3}).contiguous();
  TORCH_CHECK(channels == 4, "to_rgb takes 1, 3 or 4 channels, got ", channels);
  const auto height = pixels.size(0), rows = rows_at_a_time(pixels.size(1));
  auto rgb = torch::empty({height, pixels.size(1), 3}, torch::kUInt8);
  for (std::int64_t top = 0; top < height; top += rows) {
    const auto bottom = std::min(top + rows, height);
    rgb.slice(0, top, bottom).copy_(over_white(pixels.slice(0, top, bottom)));
  }
  return rgb;
}

torch::Tensor to_float_chw(const Image& image) {
  return (to_rgb(image.pixels).permute({2, 0, 1}).to(torch::kFloat32) / 127.5 - 1.0).contiguous();
}

torch::Tensor to_uint8_hwc(const torch::Tensor& chw) {
  const auto single = chw.dim() == 4 ? chw.squeeze(0) : chw;
  TORCH_CHECK(single.dim() == 3, "to_uint8_hwc takes one [C, H, W] picture, got ", chw.sizes());
  const auto values = single.detach().to(torch::kCPU, torch::kFloat32);
  const auto scaled = ((values * 0.5 + 0.5).clamp(0.0, 1.0) * 255.0).round();
  return scaled.permute({1, 2, 0}).to(torch::kUInt8).contiguous();
}

torch::Tensor make_grid(std::span<const torch::Tensor> images, std::int64_t columns,
                        std::int64_t gap) {
  if (images.empty() || columns < 1 || gap < 0) {
    throw Error(ErrorKind::kUsage, "a grid needs at least one picture, one column and a gap >= 0");
  }
  const auto& first = images.front();
  const auto height = first.size(0), width = first.size(1);
  const auto count = static_cast<std::int64_t>(images.size());
  const auto used_columns = std::min(columns, count);
  const auto rows = (count + columns - 1) / columns;
  auto grid =
      torch::full({rows * (height + gap) - gap, used_columns * (width + gap) - gap, first.size(2)},
                  255, torch::kUInt8);
  for (std::int64_t i = 0; i < count; ++i) {
    const auto& image = images[static_cast<std::size_t>(i)];
    if (image.sizes() != first.sizes()) {
      throw Error(ErrorKind::kUsage, "the pictures of a grid must have one size");
    }
    const auto top = (i / columns) * (height + gap), left = (i % columns) * (width + gap);
    grid.slice(0, top, top + height).slice(1, left, left + width).copy_(image);
  }
  return grid;
}

}  // namespace mos::io
