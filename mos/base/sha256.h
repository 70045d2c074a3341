#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

namespace mos {

/// SHA-256 (FIPS 180-4) of bytes that arrive in pieces.
class Sha256 {
 public:
  void update(const void* data, std::size_t bytes);
  /// The digest of everything so far as 64 hexadecimal digits; ends the use of this object.
  std::string hex();

 private:
  static constexpr std::size_t kBlock = 64;
  void absorb(const std::uint8_t* block);

  std::array<std::uint32_t, 8> state_ = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                         0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<std::uint8_t, kBlock> pending_{};
  std::size_t pending_bytes_ = 0;
  std::uint64_t total_bytes_ = 0;
};

}  // namespace mos
