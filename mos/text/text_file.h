#pragma once

#include <string>
#include <string_view>

/// Text files as people and programs save them.
namespace mos::text {

/// `bytes` as UTF-8 with "\n" at the end of lines: a byte order mark is taken off, CR LF and CR
/// become LF. Throws mos::Error(kFormat) that says how to mend it for UTF-16 and UTF-32, for other
/// bytes that are not UTF-8 (Latin-1, Windows-1252) and for zero bytes.
std::string text_of_file(std::string_view bytes);

}  // namespace mos::text
