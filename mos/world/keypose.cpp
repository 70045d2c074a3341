#include "mos/world/keypose.h"

#include <algorithm>

namespace mos::world {
namespace {

constexpr Rgb kSpine = {0.0f, 1.0f, 0.0f};
constexpr Rgb kBar = {1.0f, 0.0f, 0.0f};
constexpr Rgb kDisc = {0.0f, 0.0f, 1.0f};
constexpr double kHalfStroke = 0.012;  // shares of the picture's shorter side
constexpr double kDiscRadius = 0.035;
constexpr double kSoftness = 0.012;  // of the disc

/// `scale`: of strokes, on a canvas that is longer than the picture's shorter side.
void draw_pose(Canvas& canvas, const Pose& pose, double scale) {
  const auto share = [&](std::int64_t pixels) {
    return static_cast<double>(pixels) / static_cast<double>(canvas.size());
  };
  const double top = share(pose.box.top), bottom = share(pose.box.bottom);
  const double left = share(pose.box.left), right = share(pose.box.right);
  const double x = 0.5 * (left + right), y = 0.5 * (top + bottom);
  const double half = scale * kHalfStroke, radius = scale * kDiscRadius;
  canvas.rectangle(left, y - half, right, y + half, kBar);
  canvas.rectangle(x - half, top, x + half, bottom, kSpine);
  const double end = pose.facing == Pose::Facing::kLeft ? left + radius : right - radius;
  canvas.ellipse(end, y, radius, radius, kDisc, 1.0, scale * kSoftness);
}

}  // namespace

std::vector<Pose> poses_of(const Compositor& compositor, const Layout& layout) {
  std::vector<Pose> poses;
  for (const auto& subject : compositor.subjects(layout)) {
    const bool flipped = layout.placements[poses.size()].flip;
    poses.push_back({subject.box, flipped ? Pose::Facing::kRight : Pose::Facing::kLeft});
  }
  return poses;
}

torch::Tensor keypose_picture(const std::vector<Pose>& poses, std::int64_t height,
                              std::int64_t width) {
  Canvas canvas(std::max(height, width));  // which are square
  const double scale =
      static_cast<double>(std::min(height, width)) / static_cast<double>(canvas.size());
  for (const auto& pose : poses) draw_pose(canvas, pose, scale);
  auto square = torch::empty({canvas.size(), canvas.size(), 3}, torch::kUInt8);
  store_pixels(canvas, square.data_ptr<std::uint8_t>());
  return square.narrow(0, 0, height).narrow(1, 0, width).contiguous();
}

}  // namespace mos::world
