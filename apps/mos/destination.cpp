#include "destination.h"

#include <fmt/core.h>

#include <system_error>

#include "mos/base/error.h"
#include "mos/base/file.h"

namespace mos::app {

namespace fs = std::filesystem;

Destination::Destination(const fs::path& out, bool several) {
  const auto ending = out.extension();
  const bool is_folder = fs::is_directory(out) || (ending.empty() && out != "");
  if (!is_folder && ending != ".png") {
    throw Error(ErrorKind::kUsage, fmt::format("--out is {}, expected a folder or a name that "
                                               "ends in .png",
                                               out.string()));
  }
  folder_ = is_folder ? out : out.parent_path();
  stem_ = is_folder ? "picture" : out.stem().string();
  numbered_ = is_folder || several;
  check_writable();
}

fs::path Destination::path(std::uint64_t seed) const {
  return folder_ / (numbered_ ? fmt::format("{}-{}.png", stem_, seed) : stem_ + ".png");
}

void Destination::make_folder() const {
  std::error_code code;
  if (!folder_.empty()) fs::create_directories(folder_, code);
  if (code) {
    throw Error(ErrorKind::kIo,
                fmt::format("cannot create folder {}: {}", folder_.string(), code.message()));
  }
}

void Destination::check_writable() const {
  auto nearest = folder_.empty() ? fs::path(".") : folder_;
  while (!fs::exists(nearest) && nearest.has_parent_path()) nearest = nearest.parent_path();
  if (!fs::exists(nearest)) nearest = ".";
  const AtomicFile probe(nearest / (stem_ + ".png"));
}

}  // namespace mos::app
