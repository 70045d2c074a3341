#include "mos/io/zip_writer.h"

#include <limits>

#include "mos/base/error.h"
#include "mos/io/crc32.h"

namespace mos::io {

namespace {

constexpr std::uint32_t kLocalHeader = 0x04034b50, kCentralHeader = 0x02014b50;
constexpr std::uint32_t kEndOfDirectory = 0x06054b50;
constexpr std::size_t kLocalHeaderBytes = 30, kExtraHeaderBytes = 4;
constexpr std::uint64_t kAlignment = 64;
constexpr std::uint16_t kPaddingField =
    0x4246;  // "FB", PyTorch's mark of an extra field of padding
constexpr std::uint16_t kUtf8Names = 1U << 11;
constexpr std::uint16_t kFirstOfJanuary1980 = 1U << 5 | 1U;

/// Little-endian fields, one behind the other.
class Fields {
 public:
  Fields& u16(std::uint16_t value) { return put(value, 2); }
  Fields& u32(std::uint32_t value) { return put(value, 4); }
  const std::string& bytes() const { return bytes_; }

 private:
  Fields& put(std::uint32_t value, int count) {
    for (int i = 0; i < count; ++i) bytes_ += static_cast<char>(value >> (8 * i) & 0xffU);
    return *this;
  }
  std::string bytes_;
};

/// The fields that the local and the central header share, from "version needed" on.
void put_common(Fields& fields, std::uint32_t crc, std::uint32_t size, std::size_t name) {
  constexpr std::uint16_t kVersion = 20, kStored = 0;
  fields.u16(kVersion).u16(kUtf8Names).u16(kStored).u16(0).u16(kFirstOfJanuary1980);
  fields.u32(crc).u32(size).u32(size).u16(static_cast<std::uint16_t>(name));
}

}  // namespace

void ZipWriter::put(std::string_view bytes) {
  position_ += bytes.size();
  if (position_ > std::numeric_limits<std::uint32_t>::max()) {
    throw Error(ErrorKind::kUsage,
                "files of torch.save are written up to 4 GiB; write safetensors instead");
  }
  file_.write(bytes);
}

void ZipWriter::add(const std::string& name, std::string_view bytes) {
  if (entries_.size() >= std::numeric_limits<std::uint16_t>::max()) {
    throw Error(ErrorKind::kUsage, "files of torch.save are written with up to 65534 tensors");
  }
  const Entry entry{.name = name,
                    .crc = crc32_of(bytes),
                    .size = static_cast<std::uint32_t>(bytes.size()),
                    .offset = static_cast<std::uint32_t>(position_)};
  const auto data = position_ + kLocalHeaderBytes + name.size() + kExtraHeaderBytes;
  const std::string padding((kAlignment - data % kAlignment) % kAlignment, 'Z');
  Fields header;
  header.u32(kLocalHeader);
  put_common(header, entry.crc, entry.size, name.size());
  header.u16(static_cast<std::uint16_t>(kExtraHeaderBytes + padding.size()));
  Fields extra;
  extra.u16(kPaddingField).u16(static_cast<std::uint16_t>(padding.size()));
  put(header.bytes() + name + extra.bytes() + padding);
  put(bytes);
  entries_.push_back(entry);
}

void ZipWriter::finish() {
  const auto begin = static_cast<std::uint32_t>(position_);
  for (const auto& entry : entries_) {
    Fields header;
    header.u32(kCentralHeader).u16(0);
    put_common(header, entry.crc, entry.size, entry.name.size());
    header.u16(0).u16(0).u16(0).u16(0).u32(0).u32(entry.offset);
    put(header.bytes() + entry.name);
  }
  Fields end;
  const auto count = static_cast<std::uint16_t>(entries_.size());
  end.u32(kEndOfDirectory).u16(0).u16(0).u16(count).u16(count);
  end.u32(static_cast<std::uint32_t>(position_) - begin).u32(begin).u16(0);
  put(end.bytes());
}

}  // namespace mos::io
