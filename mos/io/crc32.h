#pragma once

#include <cstdint>
#include <string_view>

namespace mos::io {

/// CRC-32 of IEEE 802.3, as zip archives have it. Long texts are shared among the threads.
std::uint32_t crc32_of(std::string_view bytes);

}  // namespace mos::io
