#include "mos/io/edges.h"

#include <ATen/Functions.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "mos/io/image.h"

namespace mos::io {

using torch::Tensor;

namespace {

/// [3,1,H,W] in 0…1: the channels, to be filtered alike.
Tensor channels_of(const Tensor& picture) {
  return to_rgb(picture).to(torch::kFloat32).permute({2, 0, 1}).unsqueeze(1) / 255.0;
}

/// `kernel` [1,1,k,k] on x, whose border is repeated.
Tensor filter(const Tensor& x, const Tensor& kernel) {
  const auto margin_y = kernel.size(2) / 2, margin_x = kernel.size(3) / 2;
  const auto padded = at::replication_pad2d(x, {margin_x, margin_x, margin_y, margin_y});
  return at::conv2d(padded, kernel);
}

Tensor blurred(const Tensor& x, double deviation) {
  const auto widest = std::min(x.size(2), x.size(3)) - 1;
  const auto radius = std::min<std::int64_t>(std::llround(std::ceil(3.0 * deviation)), widest);
  if (deviation <= 0.0 || radius < 1) return x;
  const auto at_places = torch::arange(-radius, radius + 1, torch::kFloat32);
  auto line = (at_places.square() / (-2.0 * deviation * deviation)).exp();
  line = line / line.sum();
  return filter(filter(x, line.view({1, 1, 1, -1})), line.view({1, 1, -1, 1}));
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
  const auto dx = filter(x, across), dy = filter(x, across.transpose(2, 3).contiguous());
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

/// Those of `candidates` that hang together with one of `seeds`.
Tensor grown(Tensor seeds, const Tensor& candidates) {
  for (;;) {
    const auto near = at::max_pool2d(seeds.to(torch::kFloat32), 3, 1, 1) > 0.0;
    const auto next = near & candidates;
    if (next.equal(seeds)) return seeds;
    seeds = next;
  }
}

}  // namespace

Tensor edge_picture(const Tensor& picture, const EdgeOptions& options) {
  const torch::NoGradGuard no_grad;
  const auto gradient = steepest(gradient_of(blurred(channels_of(picture), options.blur)));
  const auto ridge = is_ridge(gradient);
  const auto weak = ridge & (gradient.size > options.low);
  const auto edges = grown(ridge & (gradient.size > options.high), weak);
  return (edges.to(torch::kUInt8) * 255).squeeze(0).permute({1, 2, 0}).contiguous();
}

}  // namespace mos::io
