#pragma once

#include <string>
#include <vector>

namespace mos::fuse {

/// Ordinary captions, for methods that keep what a model makes of them: the lines of a text file,
/// or without one 200 of our own.
/// Throws mos::Error: kIo if the file cannot be read, kFormat if it has no caption.
std::vector<std::string> captions_of(const std::string& file);

}  // namespace mos::fuse
