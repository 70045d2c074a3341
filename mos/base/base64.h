#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace mos {

std::string base64_encode(std::string_view bytes);
/// Nothing for what is no base64; line ends are passed over, padding may be missing.
std::optional<std::string> base64_decode(std::string_view text);

}  // namespace mos
