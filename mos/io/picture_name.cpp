#include "mos/io/picture_name.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "mos/base/text.h"

namespace mos::io {

bool is_picture_name(const std::filesystem::path& path) {
  constexpr auto kEndings =
      std::to_array<std::string_view>({".png", ".jpg", ".jpeg", ".jfif", ".webp"});
  return std::ranges::find(kEndings, lower_ascii(path.extension().string())) != kEndings.end();
}

bool is_png_name(const std::filesystem::path& path) {
  return lower_ascii(path.extension().string()) == ".png";
}

}  // namespace mos::io
