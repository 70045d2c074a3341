#include <fmt/core.h>
#include <turbojpeg.h>
#include <webp/encode.h>
#include <zlib.h>

#include <algorithm>
#include <cstring>

#include "mos/base/error.h"
#include "mos/base/file.h"
#include "mos/io/finite.h"
#include "mos/io/image.h"
#include "mos/io/pickle.h"
#include "mos/io/safetensors.h"
#include "mos/io/tensor_file.h"
#include "mos/io/torch_file.h"
#include "mos/io/torch_writer.h"
#include "tests/fuzz/fuzz.h"
#include "tests/io/bytes.h"

namespace mos::fuzz {
namespace {

using io::test::little_endian;

// ---- safetensors ----

constexpr std::size_t kLengthBytes = 8;

/// What is written of a file that was read is read again, and written as the same bytes.
void run_safetensors(std::string_view bytes) {
  const auto path = scratch_file("a.safetensors", bytes);
  io::StateDict dict;
  std::map<std::string, std::string> metadata;
  {
    const io::SafetensorsFile file(path);
    metadata = file.metadata();
    for (const auto& info : file.tensors()) {
      dict[info.name] = file.get(info.name).clone();
      io::is_finite(dict[info.name]);
    }
  }
  const auto first = scratch_folder() / "first", second = scratch_folder() / "second";
  io::save_safetensors(first, dict, metadata);
  const io::SafetensorsFile again(first);
  promise(again.metadata() == metadata, "metadata changes when it is written and read");
  io::save_safetensors(second, io::load_safetensors(first), again.metadata());
  promise(read_text_file(first) == read_text_file(second),
          "a safetensors file written twice is not the same bytes");
}

std::vector<std::string> safetensors_seeds() {
  const auto path = scratch_folder() / "seed.safetensors";
  io::save_safetensors(path,
                       {{"a", torch::arange(6.0).view({2, 3})},
                        {"b", torch::ones({1}, torch::kBFloat16)},
                        {"empty", torch::zeros({0, 3}, torch::kInt64)},
                        {"flag", torch::ones({}, torch::kBool)}},
                       {{"format", "pt"}, {"näme", "wörd\n"}});
  return {read_text_file(path), io::test::safetensors_bytes("{}", 0)};
}

/// The length of the header: up to the last closing brace, if there is one.
std::string repair_safetensors(const std::string& bytes) {
  const auto end = bytes.rfind('}');
  if (bytes.size() <= kLengthBytes || end == std::string::npos || end < kLengthBytes) return bytes;
  auto length = end + 1 - kLengthBytes;
  while (kLengthBytes + length < bytes.size() && bytes[kLengthBytes + length] == ' ') ++length;
  return little_endian(length, kLengthBytes) + bytes.substr(kLengthBytes);
}

// ---- torch.save ----

void walk(const io::TorchValue& value) { io::flatten_tensors(value); }

void run_torch_file(std::string_view bytes) {
  const auto file = io::read_tensor_file(scratch_file("a.pt", bytes));
  for (const auto& [name, tensor] : file.tensors) io::is_finite(tensor);
}

std::vector<std::string> torch_file_seeds() {
  const auto path = scratch_folder() / "seed.pt";
  using Dict = io::TorchValue::Dict;
  const io::TorchValue tensor{torch::arange(6.0).view({2, 3})};
  io::save_torch_file(path, {Dict{{"state_dict", {Dict{{"a", tensor}, {"b", tensor}}}},
                                  {"step", {std::int64_t{5}}},
                                  {"list", {io::TorchValue::List{{1.5}, {true}, {}}}},
                                  {"name", {std::string("toy")}}}});
  return {read_text_file(path)};
}

/// The checksums: 0 stands for none. With true ones hardly a changed byte would come to the pickle.
std::string repair_torch_file(const std::string& bytes) {
  constexpr std::size_t kCrcPlace = 16;  // in an entry of the directory
  auto fixed = bytes;
  for (auto entry = fixed.find("PK\1\2"); entry != std::string::npos;
       entry = fixed.find("PK\1\2", entry + 1)) {
    for (auto i = entry + kCrcPlace; i < std::min(entry + kCrcPlace + 4, fixed.size()); ++i) {
      fixed[i] = '\0';
    }
  }
  return fixed;
}

/// A pickle in an archive with one storage of six floats.
void run_pickle(std::string_view bytes) {
  const std::string floats(24, '\x3f');
  const auto path = scratch_file(
      "p.pt", io::test::zip_bytes({{"a/data.pkl", std::string(bytes)}, {"a/data/0", floats}}));
  walk(io::read_torch_file(path));
}

std::vector<std::string> pickle_seeds() {
  std::vector<std::string> seeds = {"N.", "}.", "](K\1K\2e.", "(lp0\nI5\naF1.5\na.",
                                    "ccollections\nOrderedDict\n(](X\1   aK\1ee\x85R."};
  for (const auto& file : torch_file_seeds()) {
    const auto begin = file.find("\x80\x02");
    seeds.push_back(file.substr(begin, file.find("u.", begin) + 2 - begin));
  }
  return seeds;
}

const std::vector<std::string>& pickle_words() {
  static const std::vector<std::string> words = {"ctorch._utils\n_rebuild_tensor_v2\n",
                                                 "ctorch\nFloatStorage\n",
                                                 "ccollections\nOrderedDict\n",
                                                 "ctorch._utils\n_rebuild_parameter\n",
                                                 "cbuiltins\nset\n",
                                                 "ctorch\nSize\n",
                                                 "cnumpy.core.multiarray\nscalar\n",
                                                 "q\1",
                                                 "h\1",
                                                 "\x94",
                                                 "(",
                                                 "t",
                                                 "R",
                                                 "b",
                                                 "Q",
                                                 "s",
                                                 "u",
                                                 "e",
                                                 "]",
                                                 "}",
                                                 ")",
                                                 "0",
                                                 "2",
                                                 "X\7   storage",
                                                 "\x8a\x0a",
                                                 "\x8d",
                                                 "I01\n",
                                                 "L5L\n",
                                                 "\x81",
                                                 "PK\x03\x04",
                                                 "PK\x01\x02",
                                                 "PK\x05\x06",
                                                 "PK\x06\x06",
                                                 "PK\x06\x07"};
  return words;
}

// ---- Pictures ----

/// What is read is written as a PNG that reads as the same picture.
void run_picture(std::string_view bytes) {
  constexpr std::int64_t kSmall = 1 << 20;  // more would only take time
  const auto image = io::decode_image(bytes, "picture");
  if (image.pixels.numel() > kSmall) return;
  const auto again = io::decode_image(io::encode_png(image.pixels), "again");
  promise(again.pixels.equal(image.pixels.contiguous()), "a PNG does not read as it was written");
  io::to_float_chw(image);
}

std::string jpeg(const torch::Tensor& pixels, int flags) {
  unsigned char* data = nullptr;
  unsigned long size = 0;
  auto* encoder = tjInitCompress();
  tjCompress2(encoder, pixels.data_ptr<std::uint8_t>(), static_cast<int>(pixels.size(1)), 0,
              static_cast<int>(pixels.size(0)), TJPF_RGB, &data, &size, TJSAMP_420, 90, flags);
  std::string bytes(reinterpret_cast<const char*>(data), size);
  tjFree(data);
  tjDestroy(encoder);
  return bytes;
}

std::string webp(const torch::Tensor& rgba, bool lossless) {
  std::uint8_t* data = nullptr;
  const auto height = static_cast<int>(rgba.size(0)), width = static_cast<int>(rgba.size(1));
  const auto* pixels = rgba.data_ptr<std::uint8_t>();
  const auto size = lossless ? WebPEncodeLosslessRGBA(pixels, width, height, 4 * width, &data)
                             : WebPEncodeRGBA(pixels, width, height, 4 * width, 80.0F, &data);
  std::string bytes(reinterpret_cast<const char*>(data), size);
  WebPFree(data);
  return bytes;
}

std::vector<std::string> picture_seeds() {
  const auto rgba =
      (torch::arange(17 * 19 * 4) * 7 % 256).view({17, 19, 4}).to(torch::kUInt8).contiguous();
  const auto rgb = rgba.slice(2, 0, 3).contiguous();
  return {io::encode_png(rgb, {{"prompt", "a <cat>"}, {"author", "Jürgen"}}),
          io::encode_png(rgba),
          io::encode_png(rgba.slice(2, 0, 1)),
          jpeg(rgb, 0),
          jpeg(rgb, TJFLAG_PROGRESSIVE),
          webp(rgba, true),
          webp(rgba, false)};
}

std::uint32_t big_endian(std::string_view bytes) {
  std::uint32_t value = 0;
  for (const char c : bytes.substr(0, 4)) value = value << 8 | static_cast<unsigned char>(c);
  return value;
}

/// The checksums of a PNG's chunks.
std::string repair_png(const std::string& bytes) {
  constexpr std::size_t kSignature = 8, kAround = 12;  // length and type before, checksum behind
  if (!bytes.starts_with("\x89PNG")) return bytes;
  auto fixed = bytes;
  for (std::size_t chunk = kSignature; chunk + kAround <= fixed.size();) {
    const std::size_t length = big_endian(std::string_view(fixed).substr(chunk));
    if (length > fixed.size() - chunk - kAround) break;
    const auto* data = reinterpret_cast<const Bytef*>(fixed.data()) + chunk + 4;
    const auto sum = ::crc32(0, data, static_cast<uInt>(length + 4));
    for (std::size_t i = 0; i < 4; ++i) {
      fixed[chunk + 8 + length + i] = static_cast<char>(sum >> (24 - 8 * i) & 0xff);
    }
    chunk += kAround + length;
  }
  return fixed;
}

const std::vector<std::string>& picture_words() {
  static const std::vector<std::string> words = {"IHDR",
                                                 "PLTE",
                                                 "IDAT",
                                                 "IEND",
                                                 "tEXt",
                                                 "zTXt",
                                                 "iTXt",
                                                 "tRNS",
                                                 "iCCP",
                                                 "eXIf",
                                                 "Exif",
                                                 std::string("MM\0*", 4),
                                                 std::string("II*\0", 4),
                                                 "\xff\xd8",
                                                 "\xff\xd9",
                                                 "\xff\xda",
                                                 "\xff\xc0",
                                                 "\xff\xc2",
                                                 "\xff\xc4",
                                                 "\xff\xdb",
                                                 "\xff\xdd",
                                                 "\xff\xe1",
                                                 "RIFF",
                                                 "WEBP",
                                                 "VP8 ",
                                                 "VP8L",
                                                 "VP8X",
                                                 "ALPH",
                                                 "ANIM",
                                                 "EXIF"};
  return words;
}

}  // namespace

std::vector<Target> file_targets() {
  const std::vector<std::string> header_words = {"{",
                                                 "}",
                                                 "[",
                                                 "]",
                                                 ",",
                                                 ":",
                                                 "\"",
                                                 "\"dtype\":\"F32\"",
                                                 "\"shape\":[",
                                                 "\"data_offsets\":[0,",
                                                 "\"__metadata__\":{",
                                                 "F16",
                                                 "BF16",
                                                 "I64",
                                                 "U8",
                                                 "BOOL",
                                                 "\\u0000",
                                                 "\xff"};
  return {{"safetensors", run_safetensors, safetensors_seeds, header_words, repair_safetensors},
          {"torch_file", run_torch_file, torch_file_seeds, pickle_words(), repair_torch_file},
          {"pickle", run_pickle, pickle_seeds, pickle_words()},
          {"picture", run_picture, picture_seeds, picture_words(), repair_png}};
}

}  // namespace mos::fuzz
