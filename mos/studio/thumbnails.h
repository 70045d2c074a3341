#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>

#include "mos/studio/http.h"

/// Small pictures in place of large ones, made by the reader (reader.h) when they are asked for
/// first and kept in .thumbnails/ of the studio's folder, each under the path of its picture. They
/// go with it: StudioFolder::discard takes them away, and a start those of pictures that are not
/// there.
namespace mos::studio {

struct Parts;
class StudioFolder;

/// Of a PNG's first bytes; {0, 0} for another file. What is in it is decoded by mos alone.
std::array<std::int64_t, 2> size_of_png(const std::filesystem::path& path);

/// The picture at `relative`, which is in the folder, with a longer side of 384 pixels at most, as
/// the file to send; one that is small already is sent itself. Throws Refused(404, 415) where there
/// is no picture, and what the reader says of it.
Reply thumbnail_reply(const Parts& parts, const std::string& relative);

void remove_orphaned_thumbnails(const StudioFolder& folder);

}  // namespace mos::studio
