#pragma once

#include <cstddef>
#include <string_view>

namespace mos {

/// Bytes of the character that `text`, which is not empty, begins with; 0 when they are not UTF-8
/// as RFC 3629 has it: shortest forms, no surrogates, up to U+10FFFF.
std::size_t utf8_character(std::string_view text);

/// How many bytes at the beginning of `text` are such characters.
std::size_t utf8_prefix(std::string_view text);

}  // namespace mos
