#include "mos/io/image.h"

#include <gmock/gmock.h>
#include <sys/stat.h>
#include <turbojpeg.h>
#include <webp/encode.h>

#include <functional>

#include "mos/base/file.h"
#include "mos/io/image_codecs.h"
#include "tests/io/bytes.h"
#include "tests/io/gradient.h"
#include "tests/support/temp_dir.h"

namespace {

using mos::ErrorKind;
using mos::io::decode_image;
using mos::io::encode_png;
using mos::io::test::error_of;
using mos::io::test::gradient;
using testing::HasSubstr;

/// A JPEG whose left half is dark and whose right half is bright, top row darker still.
std::string jpeg_bytes(int width, int height, int flags = 0) {
  auto pixels = torch::full({height, width, 3}, 40, torch::kUInt8);
  pixels.slice(1, width / 2).fill_(200);
  unsigned char* data = nullptr;
  unsigned long size = 0;
  auto* encoder = tjInitCompress();
  tjCompress2(encoder, pixels.data_ptr<std::uint8_t>(), width, 0, height, TJPF_RGB, &data, &size,
              TJSAMP_444, 95, flags);
  std::string bytes(reinterpret_cast<const char*>(data), size);
  tjFree(data);
  tjDestroy(encoder);
  return bytes;
}

/// An EXIF block with nothing but the orientation.
std::string exif(char orientation) {
  return std::string("MM\0*\0\0\0\10", 8) + std::string("\0\1", 2) +
         std::string("\1\22\0\3\0\0\0\1\0", 9) + orientation + std::string("\0\0\0\0\0\0", 6);
}

/// The same with the bytes of every number the other way round.
std::string little_endian_exif(char orientation) {
  return std::string("II*\0\10\0\0\0", 8) + std::string("\1\0", 2) +
         std::string("\22\1\3\0\1\0\0\0", 8) + orientation + std::string("\0\0\0\0\0\0\0", 7);
}

std::string jpeg_with(const std::string& jpeg, const std::string& block) {
  const auto segment = std::string("Exif\0\0", 6) + block;
  return jpeg.substr(0, 2) + "\xff\xe1" + std::string(1, '\0') +
         static_cast<char>(segment.size() + 2) + segment + jpeg.substr(2);
}

std::string number(std::size_t value, int bytes, bool little) {
  std::string text;
  for (int i = 0; i < bytes; ++i) {
    const int place = little ? i : bytes - 1 - i;
    text += static_cast<char>(value >> (8 * place) & 0xff);
  }
  return text;
}

/// `png` with the chunk eXIf behind its header; its checksum is PNG's CRC-32.
std::string png_with(const std::string& png, const std::string& block) {
  constexpr std::size_t kHeaderEnd = 33;
  const auto data = "eXIf" + block;
  std::uint32_t crc = 0xffffffff;
  for (const char c : data) {
    crc ^= static_cast<unsigned char>(c);
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return png.substr(0, kHeaderEnd) + number(block.size(), 4, false) + data +
         number(~crc & 0xffffffff, 4, false) + png.substr(kHeaderEnd);
}

std::string webp_bytes(const torch::Tensor& pixels) {
  std::uint8_t* data = nullptr;
  const auto width = static_cast<int>(pixels.size(1)), height = static_cast<int>(pixels.size(0));
  const int channels = static_cast<int>(pixels.size(2));
  const auto encode = channels == 4 ? WebPEncodeLosslessRGBA : WebPEncodeLosslessRGB;
  const auto size = encode(pixels.data_ptr<std::uint8_t>(), width, height, width * channels, &data);
  std::string bytes(reinterpret_cast<const char*>(data), size);
  WebPFree(data);
  return bytes;
}

/// `webp` (a picture of height x width) in the extended layout with the chunk EXIF at its end.
std::string webp_with(const std::string& webp, std::size_t height, std::size_t width,
                      const std::string& block) {
  constexpr char kHasExif = 8;
  auto chunks = "VP8X" + number(10, 4, true) + kHasExif + std::string(3, '\0') +
                number(width - 1, 3, true) + number(height - 1, 3, true) + webp.substr(12) +
                "EXIF" + number(block.size(), 4, true) + block;
  if (chunks.size() % 2 == 1) chunks += '\0';
  return "RIFF" + number(chunks.size() + 4, 4, true) + "WEBP" + chunks;
}

/// How ImageMagick writes a block into the text of a PNG.
std::string raw_profile(const std::string& block) {
  std::string text = "\nexif\n      " + std::to_string(block.size());
  for (std::size_t i = 0; i < block.size(); ++i) {
    const auto byte = static_cast<unsigned char>(block[i]);
    if (i % 36 == 0) text += '\n';
    for (const int digit : {byte >> 4, byte & 15}) text += "0123456789abcdef"[digit];
  }
  return text + "\n";
}

TEST(Png, PixelsAndTextsComeBack) {
  const std::map<std::string, std::string> text = {
      {"prompt", "a <cat>\nin the rain"}, {"author", "Jürgen 猫"}, {"empty", ""}};
  for (const std::int64_t channels : {1, 3, 4}) {
    const auto pixels = gradient(5, 9, channels);
    const auto image = decode_image(encode_png(pixels, text), "memory");
    EXPECT_TRUE(image.pixels.equal(pixels)) << channels;
    EXPECT_EQ(image.text, text);
  }
}

TEST(Png, SameInputMakesTheSameBytesAndViewsAreWrittenAsTheyLook) {
  const auto pixels = gradient(6, 8, 3);
  EXPECT_EQ(encode_png(pixels, {{"a", "b"}}), encode_png(pixels.clone(), {{"a", "b"}}));
  const auto flipped = pixels.flip(1).slice(0, 1, 4);
  EXPECT_TRUE(decode_image(encode_png(flipped), "memory").pixels.equal(flipped));
  EXPECT_TRUE(decode_image(encode_png(pixels.transpose(0, 1)), "memory")
                  .pixels.equal(pixels.transpose(0, 1)));
}

TEST(Png, WritesOneWholeFileOrNone) {
  const mos::TempDir folder;
  mos::io::write_png(folder / "a.png", gradient(4, 4, 3), {{"seed", "7"}});
  EXPECT_EQ(mos::io::read_image(folder / "a.png").text.at("seed"), "7");
  EXPECT_NE(error_of(ErrorKind::kIo,
                     [&] { mos::io::write_png(folder / "none/a.png", gradient(4, 4, 3)); }),
            "");
  EXPECT_NE(error_of(ErrorKind::kUsage,
                     [&] {
                       mos::io::write_png(folder / "b.png", torch::zeros({4, 4, 3}));
                     }),
            "");
  EXPECT_THAT(
      error_of(
          ErrorKind::kUsage,
          [&] {
            mos::io::write_png(folder / "b.png", gradient(4, 4, 3), {{std::string(80, 'k'), "v"}});
          }),
      HasSubstr("keyword"));
  EXPECT_FALSE(std::filesystem::exists(folder / "b.png"));
}

TEST(ReadImage, DoesNotWaitForANamedPipe) {
  const mos::TempDir folder;
  ASSERT_EQ(::mkfifo((folder / "a.png").c_str(), 0600), 0);
  EXPECT_THAT(error_of(ErrorKind::kIo, [&] { mos::io::read_image(folder / "a.png"); }),
              HasSubstr("it is not a file"));
}

TEST(ReadImage, NamesPicturesOfOtherKinds) {
  const std::pair<std::string, const char*> kinds[] = {
      {"GIF89a----------", "x is a GIF, and we read PNG, JPEG and WebP; convert it to PNG"},
      {"BM--------------", "a BMP"},
      {std::string("II*\0------------", 16), "a TIFF"},
      {std::string("\0\0\0\x1c", 4) + "ftypavif----", "an AVIF"},
      {std::string("\0\0\0\x1c", 4) + "ftypheic----", "an HEIC"}};
  for (const auto& [bytes, kind] : kinds) {
    EXPECT_THAT(error_of(ErrorKind::kFormat, [&] { decode_image(bytes, "x"); }), HasSubstr(kind));
  }
}

TEST(ReadImage, SaysWhatAFileThatIsNoPictureStartsWith) {
  const mos::TempDir folder;
  mos::write_text_file(folder / "notes.png", "just some words");
  EXPECT_EQ(error_of(ErrorKind::kFormat, [&] { mos::io::read_image(folder / "notes.png"); }),
            (folder / "notes.png").string() +
                " is not a picture we can read (PNG, JPEG or WebP): starts with \"just some wo\"");
  EXPECT_THAT(error_of(ErrorKind::kFormat, [] { decode_image(std::string("\0\1", 2), "x"); }),
              HasSubstr("starts with 00 01"));
  EXPECT_THAT(error_of(ErrorKind::kFormat, [] { decode_image("", "x"); }), HasSubstr("empty"));
  EXPECT_THAT(error_of(ErrorKind::kIo, [&] { mos::io::read_image(folder / "none.png"); }),
              HasSubstr("No such file"));
}

TEST(ReadImage, RefusesEveryCutOfAPng) {
  const auto whole = encode_png(gradient(8, 8, 3), {{"key", "value"}});
  for (std::size_t length = 0; length + 4 < whole.size(); ++length) {
    EXPECT_NE(error_of(ErrorKind::kFormat, [&] { decode_image(whole.substr(0, length), "x"); }), "")
        << length;
  }
}

TEST(ReadImage, RefusesPicturesThatAreCutOrImpossiblyLarge) {
  const auto jpeg = jpeg_bytes(64, 64);
  EXPECT_THAT(error_of(ErrorKind::kFormat, [&] { decode_image(jpeg.substr(0, 100), "x"); }),
              HasSubstr("damaged JPEG"));
  EXPECT_THAT(
      error_of(ErrorKind::kFormat, [&] { decode_image(jpeg.substr(0, jpeg.size() - 60), "x"); }),
      HasSubstr("damaged JPEG"));
  EXPECT_THAT(error_of(ErrorKind::kFormat, [&] { decode_image("RIFF\1\2\3\4WEBPVP8 xxxx", "x"); }),
              HasSubstr("damaged WebP"));
  auto large = encode_png(gradient(2, 2, 3));
  large[16] = '\x7f';  // width; the checksum no longer fits either
  EXPECT_THAT(error_of(ErrorKind::kFormat, [&] { decode_image(large, "x"); }),
              HasSubstr("cannot read x"));
}

TEST(ReadImage, BoundsThePixelsBeforeItTakesMemory) {
  using mos::io::kMaxPixels;
  EXPECT_THAT(error_of(ErrorKind::kFormat,
                       [] { mos::io::allocate_pixels(kMaxPixels / 1000 + 1, 1000, 4, "x"); }),
              HasSubstr("cannot read x: a picture of 1000 x 200001 pixels is not possible"));
  for (const auto height : {std::int64_t{0}, std::int64_t{-1}, INT64_MAX}) {
    EXPECT_NE(error_of(ErrorKind::kFormat, [&] { mos::io::allocate_pixels(height, 2, 3, "x"); }),
              "");
  }
}

TEST(ReadImage, BoundsTheTextsOfAPng) {
  const auto texts_of = [](const std::map<std::string, std::string>& texts) {
    return decode_image(encode_png(gradient(2, 2, 3), texts), "x").text;
  };
  const std::map<std::string, std::string> long_text = {
      {"long", std::string(std::size_t{5} << 20, 'x')}};
  EXPECT_TRUE(texts_of(long_text) == long_text);
  const std::map<std::string, std::string> longer_text = {
      {"longer", std::string(std::size_t{33} << 20, 'x')}};
  try {  // libpng 1.6.39 says that the file is damaged, 1.6.48 passes the text over
    EXPECT_TRUE(texts_of(longer_text).empty());
  } catch (const mos::Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kFormat);
  }
  std::map<std::string, std::string> many;
  for (int i = 100; i < 200; ++i) many[std::to_string(i)] = "x";
  EXPECT_LE(texts_of(many).size(), 16U);
  EXPECT_TRUE(texts_of(many).contains("100"));
}

TEST(ReadImage, RefusesAJpegOfCountlessScans) {
  const auto progressive = jpeg_bytes(64, 64, TJFLAG_PROGRESSIVE);
  EXPECT_EQ(decode_image(progressive, "x").pixels.size(0), 64);
  const auto last = progressive.rfind("\xff\xda");
  auto bomb = progressive.substr(0, last);
  for (int i = 0; i < 120; ++i) bomb += progressive.substr(last, progressive.size() - 2 - last);
  EXPECT_THAT(error_of(ErrorKind::kFormat, [&] { decode_image(bomb + "\xff\xd9", "x"); }),
              HasSubstr("scans, more than 100"));
}

TEST(ReadImage, ReadsJpeg) {
  const auto pixels = decode_image(jpeg_bytes(32, 16), "memory").pixels;
  ASSERT_EQ(pixels.sizes(), (std::vector<std::int64_t>{16, 32, 3}));
  EXPECT_NEAR(pixels[8][4][0].item<int>(), 40, 3);
  EXPECT_NEAR(pixels[8][28][2].item<int>(), 200, 3);
}

/// Each orientation of EXIF 2.3, and what turns such a picture upright.
void expect_all_turned(const std::function<torch::Tensor(char)>& decoded) {
  const auto plain = decoded(1);
  EXPECT_TRUE(decoded(2).equal(plain.flip(1)));
  EXPECT_TRUE(decoded(3).equal(plain.rot90(2)));
  EXPECT_TRUE(decoded(4).equal(plain.flip(0)));
  EXPECT_TRUE(decoded(5).equal(plain.transpose(0, 1)));
  EXPECT_TRUE(decoded(6).equal(plain.rot90(-1)));  // clockwise
  EXPECT_TRUE(decoded(7).equal(plain.rot90(2).transpose(0, 1)));
  EXPECT_TRUE(decoded(8).equal(plain.rot90(1)));
  EXPECT_TRUE(decoded(6).is_contiguous());
  for (const char impossible : {'\0', '\11', '\143'}) EXPECT_TRUE(decoded(impossible).equal(plain));
}

TEST(ReadImage, TurnsEveryKindOfPictureUpright) {
  const auto pixels = gradient(4, 6, 3);
  const auto jpeg = jpeg_bytes(32, 16), png = encode_png(pixels), webp = webp_bytes(pixels);
  for (const auto& block_of : {exif, little_endian_exif}) {
    expect_all_turned([&](char orientation) {
      return decode_image(jpeg_with(jpeg, block_of(orientation)), "x").pixels;
    });
    expect_all_turned([&](char orientation) {
      return decode_image(png_with(png, block_of(orientation)), "x").pixels;
    });
    expect_all_turned([&](char orientation) {
      return decode_image(webp_with(webp, 4, 6, block_of(orientation)), "x").pixels;
    });
  }
}

TEST(ReadImage, TurnsPicturesWhoseExifIsATextOfThePngOrHasItsPrefix) {
  const auto pixels = gradient(4, 6, 3);
  const auto prefixed = [](char orientation) {
    return std::string("Exif\0\0", 6) + exif(orientation);
  };
  for (const char* key : {"Raw profile type exif", "Raw profile type APP1"}) {
    expect_all_turned([&](char orientation) {
      return decode_image(encode_png(pixels, {{key, raw_profile(prefixed(orientation))}}), "x")
          .pixels;
    });
  }
  expect_all_turned([&](char orientation) {
    return decode_image(webp_with(webp_bytes(pixels), 4, 6, prefixed(orientation)), "x").pixels;
  });
}

TEST(ReadImage, LeavesAPictureWithDamagedExifAsItIs) {
  const auto pixels = gradient(4, 6, 3);
  const auto whole = exif(6);
  for (std::size_t length = 0; length < 20; ++length) {
    const auto block = whole.substr(0, length);
    EXPECT_TRUE(decode_image(png_with(encode_png(pixels), block), "x").pixels.equal(pixels));
    EXPECT_TRUE(decode_image(webp_with(webp_bytes(pixels), 4, 6, block), "x").pixels.equal(pixels));
    EXPECT_TRUE(
        decode_image(encode_png(pixels, {{"Raw profile type exif", raw_profile(block)}}), "x")
            .pixels.equal(pixels));
  }
  const std::map<std::string, std::string> nonsense = {{"Raw profile type exif", "no hex at all"}};
  EXPECT_TRUE(decode_image(encode_png(pixels, nonsense), "x").pixels.equal(pixels));
}

TEST(ReadImage, ReadsWebpWithAndWithoutAlpha) {
  for (const int channels : {3, 4}) {
    auto pixels = gradient(6, 10, channels);
    if (channels == 4) pixels.select(2, 3).fill_(128);
    EXPECT_TRUE(decode_image(webp_bytes(pixels), "memory").pixels.equal(pixels)) << channels;
  }
}

}  // namespace
