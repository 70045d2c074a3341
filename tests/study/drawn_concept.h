#pragma once

#include <filesystem>
#include <string>

#include "mos/base/file.h"
#include "mos/base/random.h"
#include "mos/io/image.h"

namespace mos::study {

/// Writes the concept `name` with so many pictures of noise, the same each time, into a folder of
/// its name in `concepts`.
inline void draw_concept(const std::filesystem::path& concepts, const std::string& name,
                         int pictures) {
  const auto place = concepts / name;
  make_folders(place / "images");
  auto generator = seeded_generator(static_cast<std::uint64_t>(name.front()));
  for (int i = 0; i < pictures; ++i) {
    io::write_png(place / "images" / (std::to_string(i) + ".png"),
                  randint(0, 256, {16, 16, 3}, generator).to(torch::kUInt8));
  }
  const Json description = {{"words", {"<" + name + "1>", "<" + name + "2>"}},
                            {"class_word", "cat"},
                            {"templates", "none"},  // they have more tokens than fit
                            {"category", "object"}};
  write_text_file(place / "concept.json", description.dump());
}

}  // namespace mos::study
