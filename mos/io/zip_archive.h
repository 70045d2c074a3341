#pragma once

#include <map>
#include <string>
#include <string_view>

namespace mos::io {

/// The entries of a zip archive in memory that are stored without compression, as torch.save
/// writes them (zip64 included). The views alias `bytes`.
/// Throws mos::Error(kFormat) naming `origin` when the archive is damaged, compressed, or has a
/// name twice.
std::map<std::string, std::string_view> stored_zip_entries(std::string_view bytes,
                                                           const std::string& origin);

}  // namespace mos::io
