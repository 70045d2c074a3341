#include "mos/io/edges.h"

#include <ATen/Functions.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <stack>
#include <vector>

#include "mos/io/image.h"

namespace mos::io {

using torch::Tensor;

namespace {

/// Pixels from `begin` to before `end` along one side of a picture.
struct Span {
  std::int64_t begin, end;

  std::int64_t size() const { return end - begin; }
  /// `margin` more on both sides, as far as there are pixels.
  Span within(std::int64_t all, std::int64_t margin) const {
    return {std::max<std::int64_t>(begin - margin, 0), std::min(end + margin, all)};
  }
  /// What of `margin` more on both sides is no more in the picture.
  std::array<std::int64_t, 2> beyond(std::int64_t all, std::int64_t margin) const {
    const auto there = within(all, margin);
    return {margin - (begin - there.begin), margin - (there.end - end)};
  }
};

struct Tile {
  Span rows, columns;

  Tile within(const Tensor& picture, std::int64_t margin) const {
    return {rows.within(picture.size(0), margin), columns.within(picture.size(1), margin)};
  }
  Tensor of(const Tensor& picture) const {
    return picture.slice(0, rows.begin, rows.end).slice(1, columns.begin, columns.end);
  }
};

/// 0…size in parts of nearly one size, none above `most`.
std::vector<Span> parts_of(std::int64_t size, std::int64_t most) {
  const auto count = (size + most - 1) / most;
  std::vector<Span> parts;
  for (std::int64_t i = 0; i < count; ++i) {
    parts.push_back({size * i / count, size * (i + 1) / count});
  }
  return parts;
}

/// Tiles of about side² pixels: a low picture has wide ones.
std::vector<Tile> tiles_of(const Tensor& picture, std::int64_t side) {
  const auto height = picture.size(0), width = picture.size(1);
  const auto rows = std::clamp(side * side / width, std::min(side, height), height);
  const auto columns = std::clamp(side * side / height, std::min(side, width), width);
  std::vector<Tile> tiles;
  for (const auto& down : parts_of(height, rows)) {
    for (const auto& across : parts_of(width, columns)) tiles.push_back({down, across});
  }
  return tiles;
}

/// [3,1,H,W] in 0…1: the channels, to be filtered alike.
Tensor channels_of(const Tensor& picture) {
  return to_rgb(picture).to(torch::kFloat32).permute({2, 0, 1}).unsqueeze(1) / 255.0;
}

/// `kernel` [1,1,k,k] on x, to which what lies beyond the picture is added as its border repeated:
/// left, right, above, below.
Tensor filter(const Tensor& x, const Tensor& kernel, const std::array<std::int64_t, 4>& beyond) {
  return at::conv2d(at::replication_pad2d(x, beyond), kernel);
}

/// A Gaussian over 2 radius + 1 pixels.
struct Blur {
  std::int64_t radius = 0;  ///< 0: none.
  Tensor line;
};

Blur blur_of(double deviation, const Tensor& picture) {
  const auto widest = std::min(picture.size(0), picture.size(1)) - 1;
  const auto radius = std::min<std::int64_t>(std::llround(std::ceil(3.0 * deviation)), widest);
  if (deviation <= 0.0 || radius < 1) return {};
  const auto at_places = torch::arange(-radius, radius + 1, torch::kFloat32);
  const auto line = (at_places.square() / (-2.0 * deviation * deviation)).exp();
  return {radius, line / line.sum()};
}

/// The channels of a tile of the picture, blurred as in the whole one.
Tensor blurred(const Tensor& picture, const Tile& tile, const Blur& blur) {
  const auto x = channels_of(tile.within(picture, blur.radius).of(picture));
  if (blur.radius == 0) return x;
  const auto [left, right] = tile.columns.beyond(picture.size(1), blur.radius);
  const auto [above, below] = tile.rows.beyond(picture.size(0), blur.radius);
  return filter(filter(x, blur.line.view({1, 1, 1, -1}), {left, right, 0, 0}),
                blur.line.view({1, 1, -1, 1}), {0, 0, above, below});
}

/// x moved by (down, right) pixels, zero where nothing comes from.
Tensor moved(const Tensor& x, std::int64_t down, std::int64_t right) {
  const auto height = x.size(2), width = x.size(3);
  return at::constant_pad_nd(x, {1, 1, 1, 1}, 0.0)
      .slice(2, 1 - down, 1 - down + height)
      .slice(3, 1 - right, 1 - right + width);
}

struct Gradient {
  Tensor size;   ///< [C,1,H,W]
  Tensor angle;  ///< −π…π
};

Gradient gradient_of(const Tensor& x) {
  constexpr float kSum = 8.0F;  // of the kernel's absolute values: a step of 1 has gradient 0.5
  const auto across =
      torch::tensor({-1.0F, 0.0F, 1.0F, -2.0F, 0.0F, 2.0F, -1.0F, 0.0F, 1.0F}).view({1, 1, 3, 3}) /
      kSum;
  const auto dx = filter(x, across, {1, 1, 1, 1});
  const auto dy = filter(x, across.transpose(2, 3).contiguous(), {1, 1, 1, 1});
  return {(dx.square() + dy.square()).sqrt() * 2.0, at::atan2(dy, dx)};
}

/// Each pixel's steepest of the channels' gradients: edges between colours of equal grey count.
Gradient steepest(const Gradient& channels) {
  const auto which = channels.size.argmax(0, true);
  return {channels.size.gather(0, which), channels.angle.gather(0, which)};
}

/// Whether a pixel's gradient is the largest of the three along its direction.
Tensor is_ridge(const Gradient& gradient) {
  // The direction as one of four pairs of neighbours: →, ↘, ↓, ↙.
  constexpr std::int64_t kNeighbours[4][2] = {{0, 1}, {1, 1}, {1, 0}, {1, -1}};
  const auto sector = (gradient.angle * (4.0 / M_PI)).round().to(torch::kInt64).remainder(4);
  auto ridge = torch::zeros_like(gradient.size, torch::kBool);
  for (std::int64_t direction = 0; direction < 4; ++direction) {
    const auto [down, right] = kNeighbours[direction];
    const auto largest = (gradient.size >= moved(gradient.size, down, right)) &
                         (gradient.size > moved(gradient.size, -down, -right));
    ridge = ridge | ((sector == direction) & largest);
  }
  return ridge;
}

enum : std::uint8_t { kNothing = 0, kWeak = 1, kStrong = 2, kEdge = 255 };

/// uint8 [h,w]: what each pixel of a tile is by itself, before edges grow together.
Tensor ridges(const Tensor& picture, const Tile& tile, const Blur& blur,
              const EdgeOptions& options) {
  // A ridge is one beside its neighbours' gradients, and these are beside theirs.
  constexpr std::int64_t kMargin = 2;
  const auto wide = tile.within(picture, kMargin);
  const auto gradient = steepest(gradient_of(blurred(picture, wide, blur)));
  const auto ridge = is_ridge(gradient);
  const auto kinds = (ridge & (gradient.size > options.low)).to(torch::kUInt8) +
                     (ridge & (gradient.size > options.high)).to(torch::kUInt8);
  const auto top = tile.rows.begin - wide.rows.begin;
  const auto left = tile.columns.begin - wide.columns.begin;
  return kinds[0][0]
      .slice(0, top, top + tile.rows.size())
      .slice(1, left, left + tile.columns.size());
}

/// The map of what pixels are by themselves becomes that of the edges: what is strong, and what
/// hangs together with that.
void grow_edges(Tensor& kinds) {
  auto at = kinds.accessor<std::uint8_t, 2>();
  std::stack<std::array<std::int64_t, 2>> open;  // in blocks: it never copies what it holds
  const auto take = [&](std::int64_t row, std::int64_t column) {
    at[row][column] = kEdge;
    open.push({row, column});
  };
  const auto go_on = [&](const Tile& near) {
    for (auto row = near.rows.begin; row < near.rows.end; ++row) {
      for (auto column = near.columns.begin; column < near.columns.end; ++column) {
        if (at[row][column] == kWeak || at[row][column] == kStrong) take(row, column);
      }
    }
  };
  for (std::int64_t row = 0; row < at.size(0); ++row) {
    for (std::int64_t column = 0; column < at.size(1); ++column) {
      if (at[row][column] == kStrong) take(row, column);
      while (!open.empty()) {
        const auto [y, x] = open.top();
        open.pop();
        go_on(Tile{{y, y + 1}, {x, x + 1}}.within(kinds, 1));
      }
    }
  }
  for (std::int64_t row = 0; row < at.size(0); ++row) {
    for (std::int64_t column = 0; column < at.size(1); ++column) {
      if (at[row][column] == kWeak) at[row][column] = kNothing;
    }
  }
}

}  // namespace

Tensor edge_picture(const Tensor& picture, const EdgeOptions& options) {
  const torch::NoGradGuard no_grad;
  const auto blur = blur_of(options.blur, picture);
  // Wide blurs look far beyond a tile: with larger ones they do so less often.
  const auto side = std::max(options.tile, 2 * blur.radius);
  auto kinds = torch::empty({picture.size(0), picture.size(1)}, torch::kUInt8);
  for (const auto& tile : tiles_of(picture, side)) {
    tile.of(kinds).copy_(ridges(picture, tile, blur, options));
  }
  grow_edges(kinds);
  return kinds.unsqueeze(-1);
}

}  // namespace mos::io
