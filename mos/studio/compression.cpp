#include "mos/studio/compression.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <optional>

#include "mos/base/error.h"
#include "mos/base/text.h"

namespace mos::studio {
namespace {

struct Coding {
  std::string name;
  double weight = 1.0;
};

/// Of one part between commas, "gzip;q=0.5".
Coding coding_of(std::string_view part) {
  const auto semicolon = std::min(part.find(';'), part.size());
  Coding coding{lower_ascii(trimmed(part.substr(0, semicolon)))};
  auto weight = lower_ascii(trimmed(part.substr(std::min(semicolon + 1, part.size()))));
  if (weight.starts_with("q=")) coding.weight = number_in<double>(weight.substr(2)).value_or(0.0);
  return coding;
}

}  // namespace

bool accepts_gzip(std::string_view accept_encoding) {
  std::optional<double> named, any;
  while (!accept_encoding.empty()) {
    const auto comma = std::min(accept_encoding.find(','), accept_encoding.size());
    const auto coding = coding_of(accept_encoding.substr(0, comma));
    if (coding.name == "gzip" || coding.name == "x-gzip") named = coding.weight;
    if (coding.name == "*") any = coding.weight;
    accept_encoding.remove_prefix(std::min(comma + 1, accept_encoding.size()));
  }
  return named.value_or(any.value_or(0.0)) > 0.0;
}

std::string gunzip(std::string_view compressed) {
  constexpr int kGzip = 16 + MAX_WBITS;
  z_stream stream{};
  if (inflateInit2(&stream, kGzip) != Z_OK) throw std::bad_alloc();
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(compressed.data()));
  stream.avail_in = static_cast<uInt>(compressed.size());
  std::string text;
  std::array<char, 65536> piece;
  int result = Z_OK;
  while (result == Z_OK) {
    stream.next_out = reinterpret_cast<Bytef*>(piece.data());
    stream.avail_out = static_cast<uInt>(piece.size());
    result = inflate(&stream, Z_NO_FLUSH);
    text.append(piece.data(), piece.size() - stream.avail_out);
  }
  inflateEnd(&stream);
  if (result != Z_STREAM_END) throw Error(ErrorKind::kFormat, "this is not what gzip writes");
  return text;
}

}  // namespace mos::studio
