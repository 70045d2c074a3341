#include "mos/io/exif.h"

#include <algorithm>
#include <cstddef>
#include <optional>

namespace mos::io {
namespace {

constexpr std::string_view kExifPrefix("Exif\0\0", 6);

enum class ByteOrder { kLittle, kBig };

/// The unsigned number in `size` bytes at `offset`; nothing outside of `bytes`.
std::optional<std::uint32_t> integer(std::string_view bytes, std::size_t offset, std::size_t size,
                                     ByteOrder order) {
  if (offset > bytes.size() || size > bytes.size() - offset) return std::nullopt;
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < size; ++i) {
    const auto position = order == ByteOrder::kLittle ? offset + size - 1 - i : offset + i;
    value = value << 8 | static_cast<unsigned char>(bytes[position]);
  }
  return value;
}

/// The orientation tag of an EXIF block, which is laid out as a TIFF file.
std::uint32_t orientation_of(std::string_view tiff) {
  constexpr std::uint32_t kOrientationTag = 0x0112, kByte = 1, kLong = 4;
  constexpr std::size_t kEntryBytes = 12;
  if (tiff.starts_with(kExifPrefix)) tiff.remove_prefix(kExifPrefix.size());
  const bool is_little = tiff.starts_with(std::string_view("II*\0", 4));
  if (!is_little && !tiff.starts_with(std::string_view("MM\0*", 4))) return 1;
  const auto number = [&](std::size_t offset, std::size_t size) {
    return integer(tiff, offset, size, is_little ? ByteOrder::kLittle : ByteOrder::kBig);
  };
  const std::size_t directory = number(4, 4).value_or(0);
  const auto entries = number(directory, 2).value_or(0);
  for (std::size_t i = 0; i < entries; ++i) {
    const auto entry = directory + 2 + i * kEntryBytes;
    if (number(entry, 2) != kOrientationTag) continue;
    const auto type = number(entry + 2, 2);
    return number(entry + 8, type == kByte ? 1 : type == kLong ? 4 : 2).value_or(1);
  }
  return 1;
}

/// The first APP1 segment with EXIF before the image data.
std::string_view exif_of_jpeg(std::string_view file) {
  constexpr std::uint32_t kMarker = 0xff, kApp1 = 0xe1, kStartOfScan = 0xda;
  const auto number = [&](std::size_t offset, std::size_t size) {
    return integer(file, offset, size, ByteOrder::kBig);
  };
  std::size_t position = 2;
  while (number(position, 1) == kMarker) {
    const auto marker = number(position + 1, 1);
    const auto length = number(position + 2, 2);
    if (!length || marker == kStartOfScan) break;
    const auto segment = file.substr(position + 4, *length < 2 ? 0 : *length - 2);
    if (marker == kApp1 && segment.starts_with(kExifPrefix)) return segment;
    position += 2 + *length;
  }
  return {};
}

/// How the chunks of a file are laid out one behind the other: a size and a name in either order,
/// the data, and what is behind them.
struct ChunkLayout {
  std::size_t first;  ///< Offset of the first chunk.
  ByteOrder order;
  std::size_t size_at, name_at;  ///< In the eight bytes before the data.
  std::size_t behind;            ///< Bytes behind the data (a checksum).
  std::size_t alignment;         ///< Data is filled up to a multiple of this.
};
constexpr ChunkLayout kPngChunks{8, ByteOrder::kBig, 0, 4, 4, 1};
constexpr ChunkLayout kWebpChunks{12, ByteOrder::kLittle, 4, 0, 0, 2};

std::string_view chunk(std::string_view file, const ChunkLayout& layout, std::string_view name) {
  constexpr std::size_t kHeader = 8;
  for (std::size_t position = layout.first; position < file.size();) {
    const auto size = integer(file, position + layout.size_at, 4, layout.order);
    if (!size || file.size() - position < kHeader) break;
    if (file.substr(position + layout.name_at, 4) == name) {
      return file.substr(position + kHeader, *size);
    }
    const auto data = (std::size_t{*size} + layout.alignment - 1) / layout.alignment;
    position += kHeader + data * layout.alignment + layout.behind;
  }
  return {};
}

std::optional<int> hexadecimal_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return std::nullopt;
}

/// The bytes of ImageMagick's text: a line with a name, one with a length, lines of hexadecimal.
std::string raw_profile(std::string_view text) {
  constexpr std::string_view kBlank = " \t\r\n";
  for (int header = 0; header < 2; ++header) {  // the name, the length
    text.remove_prefix(std::min(text.find_first_not_of(kBlank), text.size()));
    text.remove_prefix(std::min(text.find_first_of(kBlank), text.size()));
  }
  std::string bytes;
  std::optional<int> high;
  for (const char c : text) {
    const auto digit = hexadecimal_digit(c);
    if (!digit) continue;
    if (high) bytes += static_cast<char>(*high << 4 | *digit);
    high = high ? std::nullopt : digit;
  }
  return bytes;
}

}  // namespace

std::uint32_t exif_orientation(std::string_view file,
                               const std::map<std::string, std::string>& text) {
  if (file.starts_with("\xff\xd8")) return orientation_of(exif_of_jpeg(file));
  if (file.starts_with("RIFF")) return orientation_of(chunk(file, kWebpChunks, "EXIF"));
  const auto block = chunk(file, kPngChunks, "eXIf");
  if (!block.empty()) return orientation_of(block);
  for (const char* key : {"Raw profile type exif", "Raw profile type APP1"}) {
    const auto found = text.find(key);
    if (found != text.end()) return orientation_of(raw_profile(found->second));
  }
  return 1;
}

torch::Tensor upright(const torch::Tensor& pixels, std::uint32_t orientation) {
  const auto turned = [&](const torch::Tensor& image, at::IntArrayRef flipped) {
    return image.flip(flipped).contiguous();
  };
  switch (orientation) {
    case 2:
      return turned(pixels, {1});
    case 3:
      return turned(pixels, {0, 1});
    case 4:
      return turned(pixels, {0});
    case 5:
      return pixels.transpose(0, 1).contiguous();
    case 6:
      return turned(pixels.transpose(0, 1), {1});
    case 7:
      return turned(pixels.transpose(0, 1), {0, 1});
    case 8:
      return turned(pixels.transpose(0, 1), {0});
    default:
      return pixels;
  }
}

}  // namespace mos::io
