#pragma once

#include <torch/types.h>

#include <cstdint>
#include <filesystem>
#include <string>

#include "mos/io/image.h"
#include "mos/world/sample_concepts.h"
#include "mos/world/world.h"
#include "tests/support/temp_dir.h"

namespace mos::world {

/// A disc of one colour with a transparent margin, 40 high and 30 wide where it is opaque.
inline torch::Tensor disc(std::uint8_t red, std::uint8_t green, std::uint8_t blue) {
  auto pixels = torch::zeros({56, 56, 4}, torch::kUInt8);
  auto target = pixels.accessor<std::uint8_t, 3>();
  for (int y = 0; y < 56; ++y) {
    for (int x = 0; x < 56; ++x) {
      const double u = (x + 0.5 - 28.0) / 15.0;
      const double v = (y + 0.5 - 28.0) / 20.0;
      if (u * u + v * v > 1.0) continue;
      const std::uint8_t rgba[] = {red, green, blue, 255};
      for (int c = 0; c < 4; ++c) target[y][x][c] = rgba[c];
    }
  }
  return pixels;
}

/// A folder laid out as tools/sprites.mjs does it, with a disc of its own colour for every class
/// and sample concept. Removed with the object.
class SyntheticSprites {
 public:
  SyntheticSprites() {
    const auto& first = all_styles()[0].folder;
    for (std::size_t i = 0; i < all_classes().size(); ++i) {
      write(first, all_classes()[i].name, static_cast<std::uint8_t>(i));
    }
    for (std::size_t style = 1; style < all_styles().size(); ++style) {
      link_all(first, all_styles()[style].folder);
    }
    for (const auto& sample : sample_concepts()) write(sample.style, sample.name, 200);
  }

  const std::filesystem::path& folder() const { return folder_.path(); }

  /// The colour of a class's disc: its index decides green, the rest is magenta.
  static std::uint8_t green_of(int class_index) { return static_cast<std::uint8_t>(class_index); }

 private:
  void write(const std::string& style, const std::string& name, std::uint8_t green) {
    std::filesystem::create_directories(folder_ / style);
    io::write_png(folder_ / style / (name + ".png"), disc(255, green, 255));
  }

  /// Every style has the same discs.
  void link_all(const std::string& from, const std::string& style) {
    std::filesystem::create_directories(folder_ / style);
    for (const auto& file : std::filesystem::directory_iterator(folder_ / from)) {
      std::filesystem::create_hard_link(file.path(), folder_ / style / file.path().filename());
    }
  }

  TempDir folder_;
};

}  // namespace mos::world
