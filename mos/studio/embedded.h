#pragma once

#include <string_view>

namespace mos::studio {

/// docs/openapi.json as it was at the build.
std::string_view openapi_text();

/// The page, one file of HTML, gzipped; empty: it was left out of this build.
std::string_view interface_page();
/// Why it was left out, a sentence; empty: it was not.
std::string_view interface_absence();
/// Its ETag, with quotes.
std::string_view interface_tag();

}  // namespace mos::studio
