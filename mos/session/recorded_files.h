#pragma once

#include <string>

namespace mos::session {

/// Throws kIo where the file or folder `path` that a record names as `what` is not there; `option`
/// says where it is now. An empty path names nothing.
void check_recorded(const std::string& what, const std::string& path, const std::string& option);

}  // namespace mos::session
