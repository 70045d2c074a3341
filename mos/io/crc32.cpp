#include "mos/io/crc32.h"

#include <ATen/Parallel.h>
#include <zlib.h>

#include <vector>

namespace mos::io {
namespace {

/// Much more than it costs to hand a part to a thread and to combine two checksums.
constexpr std::int64_t kCrcPart = std::int64_t{1} << 20;

uLong crc_of_part(std::string_view part) {
  return ::crc32_z(0, reinterpret_cast<const Bytef*>(part.data()), part.size());
}

}  // namespace

std::uint32_t crc32_of(std::string_view bytes) {
  const auto count = (static_cast<std::int64_t>(bytes.size()) + kCrcPart - 1) / kCrcPart;
  const auto part = [&](std::int64_t i) {
    return bytes.substr(static_cast<std::size_t>(i * kCrcPart), kCrcPart);
  };
  std::vector<uLong> sums(static_cast<std::size_t>(count));
  at::parallel_for(0, count, 1, [&](std::int64_t begin, std::int64_t end) {
    for (auto i = begin; i < end; ++i) sums[static_cast<std::size_t>(i)] = crc_of_part(part(i));
  });
  uLong whole = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    whole = ::crc32_combine(whole, sums[static_cast<std::size_t>(i)],
                            static_cast<z_off_t>(part(i).size()));
  }
  return static_cast<std::uint32_t>(whole);
}

}  // namespace mos::io
