#include "mos/session/destination.h"

#include <fmt/core.h>

#include "mos/base/error.h"
#include "mos/base/file.h"
#include "mos/io/picture_name.h"
#include "mos/session/output_kinds.h"
#include "mos/session/picture_record.h"

namespace mos::session {

namespace fs = std::filesystem;

Destination::Destination(const fs::path& out, bool several) {
  const auto ending = out.extension();
  std::error_code code;  // too long a name is told with the other outputs
  const bool is_folder = fs::is_directory(out, code) || (ending.empty() && out != "");
  if (!is_folder && !io::is_png_name(out)) {
    throw Error(ErrorKind::kUsage, fmt::format("--out is {}, expected a folder or a name that "
                                               "ends in .png",
                                               out.string()));
  }
  folder_ = is_folder ? out : out.parent_path();
  ending_ = is_folder ? ".png" : ending.string();
  stem_ = is_folder ? "picture" : out.stem().string();
  numbered_ = is_folder || several;
}

fs::path Destination::path(std::uint64_t seed) const {
  return folder_ / (numbered_ ? fmt::format("{}-{}{}", stem_, seed, ending_) : stem_ + ending_);
}

void Destination::make_folder() const { make_folders(folder_); }

void Destination::announce(Outputs& outputs, std::uint64_t first, std::int64_t count) const {
  for (std::int64_t i = 0; i < count; ++i) {
    const auto picture = path(first + static_cast<std::uint64_t>(i));
    outputs.write(
        FileOutput{.name = "--out", .path = picture, .kind = picture_kind(), .makes_folder = true});
    outputs.write(FileOutput{.name = "the record beside --out",
                             .path = record_path(picture),
                             .kind = record_kind(),
                             .makes_folder = true});
  }
}

}  // namespace mos::session
