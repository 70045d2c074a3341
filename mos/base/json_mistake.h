#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace mos {

/// What is wrong with a text that is no JSON, in one line for people who wrote it: "line 3, column
/// 7 has } where a value is expected". `read` is how many bytes the parser had read, one more at
/// the end of `text`; `reason` is the parser's own sentence, which says what it expected.
std::string json_mistake(std::string_view text, std::size_t read, std::string_view reason);

}  // namespace mos
