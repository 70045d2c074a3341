#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

struct evp_md_ctx_st;

namespace mos {

/// SHA-256 (FIPS 180-4) of bytes that arrive in pieces; OpenSSL's, which uses the processor's
/// instructions for it, since base models have gigabytes.
class Sha256 {
 public:
  Sha256();
  void update(const void* data, std::size_t bytes);
  /// The digest of everything so far as 64 hexadecimal digits; ends the use of this object.
  std::string hex();

 private:
  struct Free {
    void operator()(evp_md_ctx_st* context) const;
  };
  std::unique_ptr<evp_md_ctx_st, Free> context_;
};

/// The digest of bytes that are all there.
std::string sha256_of(std::string_view bytes);

}  // namespace mos
