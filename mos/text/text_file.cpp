#include "mos/text/text_file.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstddef>
#include <utility>

#include "mos/base/error.h"
#include "mos/base/utf8.h"

namespace mos::text {
namespace {

constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";

[[noreturn]] void refuse(const std::string& what) { throw Error(ErrorKind::kFormat, what); }

/// Byte order marks of wider encodings; those of UTF-32 begin like those of UTF-16.
void refuse_wide(std::string_view bytes) {
  using namespace std::string_view_literals;
  for (const auto& [mark, name] :
       {std::pair{"\xff\xfe\0\0"sv, "UTF-32"}, std::pair{"\0\0\xfe\xff"sv, "UTF-32"},
        std::pair{"\xff\xfe"sv, "UTF-16"}, std::pair{"\xfe\xff"sv, "UTF-16"}}) {
    if (!bytes.starts_with(mark)) continue;
    refuse(fmt::format("is in {}, expected UTF-8; save it as UTF-8, or: iconv -f {} -t UTF-8", name,
                       name));
  }
  if (bytes.find('\0') != bytes.npos) {
    refuse("has zero bytes: it is no text, or in UTF-16; save it as UTF-8");
  }
}

void refuse_foreign(std::string_view text) {
  const auto before = text.substr(0, utf8_prefix(text));
  if (before.size() == text.size()) return;
  refuse(
      fmt::format("is not in UTF-8: line {} has the byte 0x{:02x}; save it as UTF-8, or if it "
                  "is in Windows-1252: iconv -f WINDOWS-1252 -t UTF-8",
                  1 + std::count(before.begin(), before.end(), '\n'),
                  static_cast<unsigned char>(text[before.size()])));
}

}  // namespace

std::string text_of_file(std::string_view bytes) {
  if (bytes.starts_with(kByteOrderMark)) bytes.remove_prefix(kByteOrderMark.size());
  refuse_wide(bytes);
  refuse_foreign(bytes);
  std::string text;
  text.reserve(bytes.size());
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const bool is_return = bytes[i] == '\r';
    if (is_return && i + 1 < bytes.size() && bytes[i + 1] == '\n') continue;
    text += is_return ? '\n' : bytes[i];
  }
  return text;
}

}  // namespace mos::text
