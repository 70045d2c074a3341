#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace mos::io {

/// A part of an archive in memory, and the CRC-32 that the archive's directory has for it.
struct ZipEntry {
  std::string_view bytes;
  std::uint32_t crc = 0;
};

/// The entries of a zip archive in memory that are stored without compression, as torch.save
/// writes them (zip64 included), by name. The views alias `bytes`, which are not looked at: who
/// reads an entry calls check_crc() first. Throws mos::Error(kFormat) naming `origin` when the
/// archive is damaged, compressed, or has a name twice.
std::map<std::string, ZipEntry> stored_zip_entries(std::string_view bytes,
                                                   const std::string& origin);

/// Throws mos::Error(kFormat) naming `origin` and the entry unless its bytes have their checksum.
void check_crc(const std::string& name, const ZipEntry& entry, const std::string& origin);

}  // namespace mos::io
