#pragma once

#include <filesystem>

namespace mos::io {

/// Whether the ending of `path` is one of those that read_image() (image.h) takes, in any case.
bool is_picture_name(const std::filesystem::path& path);

/// Whether `path` ends in .png, in any case.
bool is_png_name(const std::filesystem::path& path);

}  // namespace mos::io
