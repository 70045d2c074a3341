#include <fmt/format.h>
#include <png.h>

#include <algorithm>
#include <csetjmp>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "mos/base/error.h"
#include "mos/base/text.h"
#include "mos/io/image_codecs.h"
#include "mos/io/quick_png.h"

/// libpng reports errors with longjmp, so every function that calls setjmp below holds only
/// trivial local variables; whatever owns memory lives in the objects passed to it.
namespace mos::io {
namespace {

/// Bytes that libpng may take at once: of a row, or of one text or profile once it is unpacked. The
/// record of a scene with a hundred regions has 40 kB; some editors leave megabytes of history.
/// What is longer is passed over or makes the file a damaged one; without a limit a picture of 300
/// bytes takes gigabytes.
constexpr png_alloc_size_t kMaxChunkBytes = std::size_t{32} << 20;
constexpr png_uint_32 kMaxTexts = 16;  // more are passed over

/// State shared with libpng's callbacks.
struct PngStream {
  std::string_view input;
  std::string output;
  std::string error;
};

void on_error(png_structp png, png_const_charp message) {
  static_cast<PngStream*>(png_get_error_ptr(png))->error = message;
  png_longjmp(png, 1);
}

void on_warning(png_structp, png_const_charp) {}

void on_read(png_structp png, png_bytep target, std::size_t size) {
  auto& stream = *static_cast<PngStream*>(png_get_io_ptr(png));
  if (size > stream.input.size()) png_error(png, "the file ends too early");
  std::memcpy(target, stream.input.data(), size);
  stream.input.remove_prefix(size);
}

void on_write(png_structp png, png_bytep data, std::size_t size) {
  auto& stream = *static_cast<PngStream*>(png_get_io_ptr(png));
  stream.output.append(reinterpret_cast<const char*>(data), size);
}

void on_flush(png_structp) {}

/// libpng's own limit is only a warning for chunks that are not compressed.
png_voidp limited_malloc(png_structp, png_alloc_size_t bytes) {
  return bytes > kMaxChunkBytes ? nullptr : std::malloc(bytes);
}

void plain_free(png_structp, png_voidp memory) { std::free(memory); }

/// Owns libpng's two structs for reading.
struct PngReader {
  PngStream stream;
  png_structp png = nullptr;
  png_infop info = nullptr;

  explicit PngReader(std::string_view bytes) : stream{bytes, {}, {}} {
    png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, &stream, on_error, on_warning, nullptr,
                                   limited_malloc, plain_free);
    if (png != nullptr) info = png_create_info_struct(png);
  }
  ~PngReader() { png_destroy_read_struct(&png, &info, nullptr); }
  PngReader(const PngReader&) = delete;
  PngReader& operator=(const PngReader&) = delete;
};

/// Owns libpng's two structs for writing.
struct PngWriter {
  PngStream stream;
  png_structp png = nullptr;
  png_infop info = nullptr;

  PngWriter() {
    png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &stream, on_error, on_warning);
    if (png != nullptr) info = png_create_info_struct(png);
  }
  ~PngWriter() { png_destroy_write_struct(&png, &info); }
  PngWriter(const PngWriter&) = delete;
  PngWriter& operator=(const PngWriter&) = delete;
};

/// Reads everything before the pixels and asks for 8-bit grey, RGB or RGBA rows.
bool read_header(PngReader& reader) {
  if (setjmp(png_jmpbuf(reader.png)) != 0) return false;
  png_set_read_fn(reader.png, &reader.stream, on_read);
  png_set_chunk_malloc_max(reader.png, kMaxChunkBytes);  // of what is unpacked
  png_set_chunk_cache_max(reader.png, kMaxTexts);
  png_read_info(reader.png, reader.info);
  png_set_expand(reader.png);  // palettes, tRNS, fewer than 8 bits
  png_set_scale_16(reader.png);
  if (png_get_color_type(reader.png, reader.info) == PNG_COLOR_TYPE_GRAY_ALPHA ||
      (png_get_color_type(reader.png, reader.info) == PNG_COLOR_TYPE_GRAY &&
       png_get_valid(reader.png, reader.info, PNG_INFO_tRNS) != 0)) {
    png_set_gray_to_rgb(reader.png);
  }
  png_set_interlace_handling(reader.png);
  png_read_update_info(reader.png, reader.info);
  return true;
}

bool read_rows(PngReader& reader, png_bytepp rows) {
  if (setjmp(png_jmpbuf(reader.png)) != 0) return false;
  png_read_image(reader.png, rows);
  png_read_end(reader.png, reader.info);
  return true;
}

std::vector<png_bytep> row_pointers(const torch::Tensor& pixels) {
  std::vector<png_bytep> rows(static_cast<std::size_t>(pixels.size(0)));
  for (std::size_t y = 0; y < rows.size(); ++y) {
    rows[y] = pixels.data_ptr<std::uint8_t>() + static_cast<std::int64_t>(y) * pixels.stride(0);
  }
  return rows;
}

/// tEXt and zTXt are Latin-1 by the standard; iTXt is UTF-8, and Latin-1 where it breaks it.
std::string utf8_of_latin1(std::string_view text) {
  std::string result;
  for (const char c : text) {
    const auto code = static_cast<unsigned char>(c);
    if (code < 0x80) {
      result += c;
    } else {
      result += static_cast<char>(0xc0 | (code >> 6));
      result += static_cast<char>(0x80 | (code & 0x3f));
    }
  }
  return result;
}

std::map<std::string, std::string> text_of(const PngReader& reader) {
  std::map<std::string, std::string> result;
  png_textp entries = nullptr;
  int count = 0;
  png_get_text(reader.png, reader.info, &entries, &count);
  for (int i = 0; i < count; ++i) {
    const auto& entry = entries[i];
    const bool utf8 = entry.compression >= PNG_ITXT_COMPRESSION_NONE;
    const std::string_view text(entry.text == nullptr ? "" : entry.text,
                                utf8 ? entry.itxt_length : entry.text_length);
    result[utf8_of_latin1(entry.key)] =
        utf8 && is_utf8(text) ? std::string(text) : utf8_of_latin1(text);
  }
  return result;
}

bool is_printable_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~'; });
}

bool is_plain_text(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return c == '\n' || (c >= ' ' && c <= '~'); });
}

std::vector<png_text> text_entries(const std::map<std::string, std::string>& text) {
  std::vector<png_text> entries;
  for (const auto& [key, value] : text) {
    if (key.empty() || key.size() > 79 || !is_printable_ascii(key)) {
      throw Error(ErrorKind::kUsage,
                  fmt::format("cannot write PNG text: the keyword \"{}\" is not 1-79 printable "
                              "ASCII characters",
                              key));
    }
    png_text entry{};
    entry.compression =
        is_plain_text(value) ? PNG_TEXT_COMPRESSION_NONE : PNG_ITXT_COMPRESSION_NONE;
    entry.key = const_cast<png_charp>(key.c_str());
    entry.text = const_cast<png_charp>(value.c_str());
    entry.text_length = value.size();
    entries.push_back(entry);
  }
  return entries;
}

int colour_type(std::int64_t channels) {
  if (channels == 1) return PNG_COLOR_TYPE_GRAY;
  return channels == 3 ? PNG_COLOR_TYPE_RGB : PNG_COLOR_TYPE_RGB_ALPHA;
}

enum class Effort { kUsual, kLittle };

bool write_all(PngWriter& writer, const torch::Tensor& pixels, std::vector<png_text>& texts,
               std::vector<png_bytep>& rows, Effort effort) {
  if (setjmp(png_jmpbuf(writer.png)) != 0) return false;
  if (effort == Effort::kLittle) {
    png_set_compression_level(writer.png, 1);
    png_set_compression_mem_level(writer.png, 4);  // less to clear than what is packed
    png_set_filter(writer.png, PNG_FILTER_TYPE_BASE, PNG_FILTER_UP);
  }
  png_set_write_fn(writer.png, &writer.stream, on_write, on_flush);
  png_set_IHDR(writer.png, writer.info, static_cast<png_uint_32>(pixels.size(1)),
               static_cast<png_uint_32>(pixels.size(0)), 8, colour_type(pixels.size(2)),
               PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  if (!texts.empty()) {
    png_set_text(writer.png, writer.info, texts.data(), static_cast<int>(texts.size()));
  }
  png_write_info(writer.png, writer.info);
  png_write_image(writer.png, rows.data());
  png_write_end(writer.png, nullptr);
  return true;
}

}  // namespace

Image decode_png(std::string_view bytes, const std::string& origin) {
  PngReader reader(bytes);
  if (reader.info == nullptr) throw_damaged(origin, "the PNG decoder does not start");
  if (!read_header(reader)) {
    throw_damaged(origin, fmt::format("damaged PNG ({})", reader.stream.error));
  }
  Image image;
  image.pixels = allocate_pixels(png_get_image_height(reader.png, reader.info),
                                 png_get_image_width(reader.png, reader.info),
                                 png_get_channels(reader.png, reader.info), origin);
  auto rows = row_pointers(image.pixels);
  if (!read_rows(reader, rows.data())) {
    throw_damaged(origin, fmt::format("damaged PNG ({})", reader.stream.error));
  }
  image.text = text_of(reader);
  return image;
}

namespace {

std::string encode(const torch::Tensor& pixels, const std::map<std::string, std::string>& text,
                   Effort effort) {
  const bool fits = pixels.dim() == 3 && pixels.scalar_type() == torch::kUInt8 &&
                    pixels.numel() > 0 &&
                    (pixels.size(2) == 1 || pixels.size(2) == 3 || pixels.size(2) == 4);
  if (!fits) {
    throw Error(ErrorKind::kUsage, "a PNG takes uint8 pixels [H, W, C] with 1, 3 or 4 channels");
  }
  const auto contiguous = pixels.to(torch::kCPU).contiguous();
  auto texts = text_entries(text);
  auto rows = row_pointers(contiguous);
  PngWriter writer;
  if (writer.info == nullptr || !write_all(writer, contiguous, texts, rows, effort)) {
    throw Error(ErrorKind::kIo, fmt::format("cannot make a PNG: {}", writer.stream.error));
  }
  return std::move(writer.stream.output);
}

}  // namespace

std::string encode_png(const torch::Tensor& pixels,
                       const std::map<std::string, std::string>& text) {
  return encode(pixels, text, Effort::kUsual);
}

std::string quick_png(const torch::Tensor& pixels, const std::map<std::string, std::string>& text) {
  return encode(pixels, text, Effort::kLittle);
}

}  // namespace mos::io
