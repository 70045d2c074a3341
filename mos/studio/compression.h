#pragma once

#include <string>
#include <string_view>

/// The page lies here compressed, and not everybody wants it so.
namespace mos::studio {

/// Whether what `accept_encoding`, the header of a request, says allows gzip: by its name or as
/// "*", with any weight but 0 (RFC 9110, 12.5.3).
bool accepts_gzip(std::string_view accept_encoding);

/// What gzip has made smaller. Throws kFormat for anything else.
std::string gunzip(std::string_view compressed);

}  // namespace mos::studio
