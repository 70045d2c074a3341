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

void draw_pose(Canvas& canvas, const Pose& pose) {
  const auto share = [&](std::int64_t pixels) {
    return static_cast<double>(pixels) / canvas.unit();
  };
  const double top = share(pose.box.top), bottom = share(pose.box.bottom);
  const double left = share(pose.box.left), right = share(pose.box.right);
  const double x = 0.5 * (left + right), y = 0.5 * (top + bottom);
  canvas.rectangle(left, y - kHalfStroke, right, y + kHalfStroke, kBar);
  canvas.rectangle(x - kHalfStroke, top, x + kHalfStroke, bottom, kSpine);
  const double end = pose.facing == Pose::Facing::kLeft ? left + kDiscRadius : right - kDiscRadius;
  canvas.ellipse(end, y, kDiscRadius, kDiscRadius, kDisc, 1.0, kSoftness);
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
  Canvas canvas(height, width);
  for (const auto& pose : poses) draw_pose(canvas, pose);
  auto picture = torch::empty({height, width, 3}, torch::kUInt8);
  store_pixels(canvas, picture.data_ptr<std::uint8_t>());
  return picture;
}

}  // namespace mos::world
