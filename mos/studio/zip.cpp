#include "mos/studio/zip.h"

#include <zlib.h>

#include <cstdint>
#include <limits>

#include "mos/base/error.h"
#include "mos/base/file.h"

namespace mos::studio {
namespace {

/// Little-endian numbers, as all of ZIP (APPNOTE.TXT).
class Bytes {
 public:
  Bytes& u16(std::uint32_t value) { return add(value, 2); }
  Bytes& u32(std::uint32_t value) { return add(value, 4); }
  Bytes& text(std::string_view value) {
    bytes_ += value;
    return *this;
  }
  const std::string& get() const { return bytes_; }

 private:
  Bytes& add(std::uint32_t value, int count) {
    for (int i = 0; i < count; ++i) bytes_ += static_cast<char>(value >> (8 * i) & 0xFF);
    return *this;
  }
  std::string bytes_;
};

constexpr std::uint32_t kVersion = 20, kUtf8Names = 1 << 11, kStored = 0;
constexpr std::uint32_t kDay = 1 << 5 | 1;  // 1980-01-01: equal files make equal archives

/// What the head of a file and its entry in the directory share.
std::string common(std::uint32_t checksum, std::uint32_t size, std::size_t name) {
  Bytes bytes;
  bytes.u16(kVersion).u16(kUtf8Names).u16(kStored).u16(0).u16(kDay).u32(checksum).u32(size);
  return bytes.u32(size).u16(static_cast<std::uint32_t>(name)).u16(0).get();
}

}  // namespace

void write_zip(const std::filesystem::path& to, const std::vector<std::filesystem::path>& files) {
  constexpr std::uint64_t kMost = std::numeric_limits<std::uint32_t>::max();
  if (files.size() > std::numeric_limits<std::uint16_t>::max()) {
    throw Error(ErrorKind::kUsage, "these are too many files for one archive");
  }
  AtomicFile archive(to);
  Bytes directory;
  std::uint64_t offset = 0;
  for (const auto& file : files) {
    const auto content = read_whole_file(file);
    const auto name = file.filename().string();
    if (offset + content.size() + name.size() + 1024 > kMost) {
      throw Error(ErrorKind::kUsage, "these are more than 4 GB; take fewer at a time");
    }
    const auto size = static_cast<std::uint32_t>(content.size());
    const auto checksum =
        static_cast<std::uint32_t>(crc32(0, reinterpret_cast<const Bytef*>(content.data()), size));
    const auto same = common(checksum, size, name.size());
    const auto head = Bytes().u32(0x04034b50).text(same).text(name).get();
    archive.write(head);
    archive.write(content);
    directory.u32(0x02014b50).u16(kVersion).text(same).u16(0).u16(0).u16(0).u32(0);
    directory.u32(static_cast<std::uint32_t>(offset)).text(name);
    offset += head.size() + content.size();
  }
  const auto count = static_cast<std::uint32_t>(files.size());
  archive.write(directory.get());
  archive.write(Bytes()
                    .u32(0x06054b50)
                    .u16(0)
                    .u16(0)
                    .u16(count)
                    .u16(count)
                    .u32(static_cast<std::uint32_t>(directory.get().size()))
                    .u32(static_cast<std::uint32_t>(offset))
                    .u16(0)
                    .get());
  archive.commit();
}

}  // namespace mos::studio
