#pragma once

#include <filesystem>
#include <vector>

namespace mos {

/// Whether a file or folder of this name was left there by an operating system, a file browser or a
/// network share rather than by a person: hidden ones (.DS_Store, ._a.png), Thumbs.db, desktop.ini,
/// __MACOSX, @eaDir and their like, in any case. Such entries are passed over everywhere.
bool is_system_entry(const std::filesystem::path& path);

/// Whatever else is directly in `folder`, sorted by name, so that nothing depends on the order in
/// which the system lists it. Throws mos::Error(kIo) when the folder cannot be read.
std::vector<std::filesystem::path> entries_of(const std::filesystem::path& folder);

}  // namespace mos
