#include "mos/io/zip_archive.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>

#include "mos/base/error.h"
#include "mos/base/text.h"
#include "mos/io/crc32.h"

/// Layouts as in PKWARE's APPNOTE 6.3.9, sections 4.3.7, 4.3.12, 4.3.14-4.3.16, 4.5.3.
namespace mos::io {
namespace {

constexpr std::string_view kEndSignature("PK\x05\x06", 4);
constexpr std::string_view kZip64EndSignature("PK\x06\x06", 4);
constexpr std::string_view kZip64LocatorSignature("PK\x06\x07", 4);
constexpr std::string_view kEntrySignature("PK\x01\x02", 4);
constexpr std::string_view kLocalSignature("PK\x03\x04", 4);
constexpr std::size_t kEndBytes = 22;
constexpr std::size_t kLongestComment = 65535;
constexpr std::size_t kZip64LocatorBytes = 20;
constexpr std::size_t kEntryBytes = 46;
constexpr std::size_t kLocalBytes = 30;
constexpr std::uint64_t kInZip64 = 0xffffffff;  ///< "look into the zip64 field"

class ZipReader {
 public:
  ZipReader(std::string_view bytes, const std::string& origin) : bytes_(bytes), origin_(origin) {}

  std::map<std::string, ZipEntry> entries() const {
    auto [position, count] = find_directory();
    std::map<std::string, ZipEntry> result;
    for (std::uint64_t i = 0; i < count; ++i) {
      expect(kEntrySignature, position);
      const auto name_length = integer(position + 28, 2);
      const auto extra_length = integer(position + 30, 2);
      const auto comment_length = integer(position + 32, 2);
      const std::string name(slice(position + kEntryBytes, name_length));
      if (integer(position + 10, 2) != 0) {
        fail(fmt::format("its part {} is compressed, which torch.save does not do",
                         printable(name)));
      }
      const auto data =
          entry_data(position, slice(position + kEntryBytes + name_length, extra_length));
      const auto crc = static_cast<std::uint32_t>(integer(position + 16, 4));
      if (!result.emplace(name, ZipEntry{data, crc}).second)
        fail(fmt::format("it holds {} twice", printable(name)));
      position += kEntryBytes + name_length + extra_length + comment_length;
    }
    return result;
  }

 private:
  [[noreturn]] void fail(const std::string& reason) const {
    throw Error(ErrorKind::kFormat, fmt::format("cannot read {}: {}", origin_, reason));
  }

  std::string_view slice(std::uint64_t offset, std::uint64_t length) const {
    if (offset > bytes_.size() || length > bytes_.size() - offset) {
      fail("the zip archive is damaged or incomplete; fetch it again");
    }
    return bytes_.substr(offset, length);
  }

  std::uint64_t integer(std::uint64_t offset, std::uint64_t length) const {
    return little_endian(slice(offset, length));
  }

  static std::uint64_t little_endian(std::string_view bytes) {
    std::uint64_t value = 0;
    for (std::size_t i = bytes.size(); i-- > 0;) {
      value = value << 8 | static_cast<unsigned char>(bytes[i]);
    }
    return value;
  }

  void expect(std::string_view signature, std::uint64_t offset) const {
    if (slice(offset, signature.size()) != signature) fail("the zip archive is damaged");
  }

  /// Offset and number of entries of the central directory.
  std::pair<std::uint64_t, std::uint64_t> find_directory() const {
    const auto tail = std::min(bytes_.size(), kEndBytes + kLongestComment);
    const auto found = bytes_.substr(bytes_.size() - tail).rfind(kEndSignature);
    if (found == std::string_view::npos) fail("the zip archive has no end; fetch it again");
    const auto end = bytes_.size() - tail + found;
    slice(end, kEndBytes);
    const auto offset = integer(end + 16, 4);
    if (end >= kZip64LocatorBytes && slice(end - kZip64LocatorBytes, 4) == kZip64LocatorSignature) {
      const auto zip64_end = integer(end - kZip64LocatorBytes + 8, 8);
      expect(kZip64EndSignature, zip64_end);
      return {integer(zip64_end + 48, 8), integer(zip64_end + 32, 8)};
    }
    return {offset, integer(end + 10, 2)};
  }

  /// The bytes of the entry described at `position` of the directory.
  std::string_view entry_data(std::uint64_t position, std::string_view extra) const {
    const auto compressed = integer(position + 20, 4);
    auto size = integer(position + 24, 4);
    auto local = integer(position + 42, 4);
    // The zip64 field holds, in this order, only the values that did not fit above.
    auto zip64 = zip64_field(extra);
    const auto take = [&](std::uint64_t& value) {
      if (value != kInZip64) return;
      if (zip64.size() < 8) fail("the zip archive is damaged");
      value = little_endian(zip64.substr(0, 8));
      zip64.remove_prefix(8);
    };
    take(size);
    if (compressed == kInZip64) zip64.remove_prefix(std::min<std::size_t>(8, zip64.size()));
    take(local);
    expect(kLocalSignature, local);
    const auto start = local + kLocalBytes + integer(local + 26, 2) + integer(local + 28, 2);
    return slice(start, size);
  }

  static std::string_view zip64_field(std::string_view extra) {
    constexpr std::uint64_t kZip64Tag = 1;
    while (extra.size() >= 4) {
      const auto tag = little_endian(extra.substr(0, 2));
      const auto field = extra.substr(4, little_endian(extra.substr(2, 2)));
      if (tag == kZip64Tag) return field;
      extra.remove_prefix(4 + field.size());
    }
    return {};
  }

  std::string_view bytes_;
  const std::string& origin_;
};

}  // namespace

std::map<std::string, ZipEntry> stored_zip_entries(std::string_view bytes,
                                                   const std::string& origin) {
  return ZipReader(bytes, origin).entries();
}

void check_crc(const std::string& name, const ZipEntry& entry, const std::string& origin) {
  // torch.save leaves 0 where its user turned checksums off
  // (torch.serialization.set_crc32_options), and torch.load, which looks at none, reads such files.
  if (entry.crc == 0 || crc32_of(entry.bytes) == entry.crc) return;
  throw Error(ErrorKind::kFormat,
              fmt::format("cannot read {}: the zip archive is damaged: the checksum of its part {} "
                          "is not that of its bytes; fetch it again",
                          origin, printable(name)));
}

}  // namespace mos::io
