#pragma once

#include <filesystem>
#include <string>
#include <system_error>

#include "mos/base/temporary.h"

/// How complete results come to stand where they were asked for, with nothing lost on the way.
namespace mos {

/// Where writing to `path` ends: the file or folder behind all symbolic links, which need not be
/// there. Throws kIo for links that lead round in a circle.
std::filesystem::path behind_links(const std::filesystem::path& path);

/// Whether something is mounted at `path`, a folder or, on Linux 5.8 or later, a file: nothing can
/// take its place.
bool is_mount_point(const std::filesystem::path& path);

/// Whether the system forbids us to reach `path` in that way (W_OK | X_OK), and errno then says
/// why. A question that it does not understand (filters of older containers) forbids nothing.
bool is_forbidden(const std::filesystem::path& path, int way);

/// Renames; std::errc::file_exists if something is at `to` already, which then is as it was.
std::error_code rename_new(const std::filesystem::path& from, const std::filesystem::path& to);

/// Puts the folder `made` where the folder `former` is and removes the former one. At any moment
/// one of them stands there, where the system can exchange two names in one step; elsewhere the
/// former one is moved aside under a name that says so, and comes back should the new one fail.
std::error_code replace_folder(const std::filesystem::path& made,
                               const std::filesystem::path& former);

/// For a complete result that cannot take its place, as `reason` says in a sentence: keeps it under
/// a free name beside `place` (`fox-2.safetensors`), else under its temporary one, where nothing
/// clears it, and throws kIo with the reason and that name. A part of a temporary folder is not
/// kept.
[[noreturn]] void keep_beside(Temporary& result, const std::filesystem::path& place,
                              const std::string& reason);

/// Makes sure that new names in `folder` outlast a power failure, where the system can.
void sync_folder(const std::filesystem::path& folder);

}  // namespace mos
