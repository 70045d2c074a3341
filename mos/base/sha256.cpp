#include "mos/base/sha256.h"

#include <fmt/core.h>
#include <openssl/evp.h>

#include <array>

#include "mos/base/error.h"

namespace mos {
namespace {

/// OpenSSL's functions return 1 unless memory is short or its configuration forbids the digest.
void check(int status) {
  if (status == 1) return;
  throw Error(ErrorKind::kDevice, "cannot compute a SHA-256: OpenSSL refuses it on this machine");
}

}  // namespace

void Sha256::Free::operator()(evp_md_ctx_st* context) const { EVP_MD_CTX_free(context); }

Sha256::Sha256() : context_(EVP_MD_CTX_new()) {
  check(context_ ? EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) : 0);
}

void Sha256::update(const void* data, std::size_t bytes) {
  check(EVP_DigestUpdate(context_.get(), data, bytes));
}

std::string Sha256::hex() {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
  unsigned int size = 0;
  check(EVP_DigestFinal_ex(context_.get(), digest.data(), &size));
  std::string text;
  for (unsigned int i = 0; i < size; ++i) text += fmt::format("{:02x}", digest[i]);
  return text;
}

std::string sha256_of(std::string_view bytes) {
  Sha256 sha;
  sha.update(bytes.data(), bytes.size());
  return sha.hex();
}

}  // namespace mos
