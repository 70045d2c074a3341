#include <fmt/format.h>
#include <turbojpeg.h>
#include <webp/decode.h>

#include <memory>

#include "mos/io/image_codecs.h"

namespace mos::io {
namespace {

/// Scans of one JPEG: encoders make 10 of a progressive picture, and each one costs as much time as
/// the whole picture, whatever is in it.
constexpr std::size_t kMaxScans = 100;

const unsigned char* raw(std::string_view bytes) {
  return reinterpret_cast<const unsigned char*>(bytes.data());
}

/// How many scans there are before the end of the picture. Within a scan, 0xff begins a marker only
/// if neither 0 nor a restart follows.
std::size_t jpeg_scans(std::string_view bytes) {
  constexpr unsigned char kStuffed = 0x00, kFirstRestart = 0xd0, kLastRestart = 0xd7;
  constexpr unsigned char kEndOfImage = 0xd9, kStartOfScan = 0xda, kFill = 0xff;
  std::size_t scans = 0;
  auto position = bytes.find('\xff', 2);
  while (position < bytes.size() && bytes.size() - position >= 4) {
    const auto marker = raw(bytes)[position + 1];
    if (marker == kEndOfImage) break;
    std::size_t next = position + 2;
    if (marker == kFill) {
      next = position + 1;
    } else if (marker != kStuffed && (marker < kFirstRestart || marker > kLastRestart)) {
      next += static_cast<std::size_t>(raw(bytes)[position + 2] << 8 | raw(bytes)[position + 3]);
    }
    if (marker == kStartOfScan) ++scans;
    position = bytes.find('\xff', next);
  }
  return scans;
}

}  // namespace

Image decode_jpeg(std::string_view bytes, const std::string& origin) {
  const std::unique_ptr<void, int (*)(tjhandle)> decoder(tjInitDecompress(), tjDestroy);
  if (!decoder) throw_damaged(origin, "the JPEG decoder does not start");
  const auto size = static_cast<unsigned long>(bytes.size());
  int width = 0, height = 0, subsampling = 0, colour_space = 0;
  if (tjDecompressHeader3(decoder.get(), raw(bytes), size, &width, &height, &subsampling,
                          &colour_space) != 0) {
    throw_damaged(origin, fmt::format("damaged JPEG ({})", tjGetErrorStr2(decoder.get())));
  }
  if (width < 1 || height < 1) throw_damaged(origin, "damaged JPEG (no picture in it)");
  if (colour_space == TJCS_CMYK || colour_space == TJCS_YCCK) {
    throw_damaged(origin, "it is a CMYK JPEG; convert it to RGB");
  }
  if (const auto scans = jpeg_scans(bytes); scans > kMaxScans) {
    throw_damaged(origin, fmt::format("it is a JPEG of {} scans, more than {}; save it anew", scans,
                                      kMaxScans));
  }
  const bool grey = colour_space == TJCS_GRAY;
  auto pixels = allocate_pixels(height, width, grey ? 1 : 3, origin);
  const int status = tjDecompress2(decoder.get(), raw(bytes), size, pixels.data_ptr<std::uint8_t>(),
                                   width, /*pitch=*/0, height, grey ? TJPF_GRAY : TJPF_RGB, 0);
  if (status != 0) {
    // Warnings such as stray bytes leave a whole picture; missing data does not.
    const std::string_view reason = tjGetErrorStr2(decoder.get());
    if (tjGetErrorCode(decoder.get()) == TJERR_FATAL || reason.find("Premature end") == 0) {
      throw_damaged(origin, fmt::format("damaged JPEG ({})", reason));
    }
  }
  return {.pixels = pixels, .text = {}};
}

Image decode_webp(std::string_view bytes, const std::string& origin) {
  WebPBitstreamFeatures features{};
  if (WebPGetFeatures(raw(bytes), bytes.size(), &features) != VP8_STATUS_OK) {
    throw_damaged(origin, "damaged WebP");
  }
  if (features.has_animation != 0)
    throw_damaged(origin, "it is an animated WebP, expected one picture");
  const int channels = features.has_alpha != 0 ? 4 : 3;
  auto pixels = allocate_pixels(features.height, features.width, channels, origin);
  const auto decode = features.has_alpha != 0 ? WebPDecodeRGBAInto : WebPDecodeRGBInto;
  if (decode(raw(bytes), bytes.size(), pixels.data_ptr<std::uint8_t>(), pixels.nbytes(),
             features.width * channels) == nullptr) {
    throw_damaged(origin, "damaged WebP");
  }
  return {.pixels = pixels, .text = {}};
}

}  // namespace mos::io
