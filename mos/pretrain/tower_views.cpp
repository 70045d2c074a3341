#include "mos/pretrain/tower_views.h"

#include <algorithm>
#include <cmath>

namespace mos::pretrain {

using torch::Tensor;
using world::Split;

namespace {

/// Share of the pictures on which a tower looks at one piece where it could look at all of it.
constexpr double kPiece = 0.6;
constexpr double kJitter = 0.06;  // of a piece's width, at both edges

/// How many views of each canvas are in a batch: by shares, the square has what rounding leaves.
std::vector<std::int64_t> shares_of(const Dataset& data, std::int64_t batch) {
  double sum = 0.0;
  for (const auto& kind : data.world().canvases) sum += kind.share;
  std::vector<std::int64_t> counts;
  for (const auto& kind : data.world().canvases) {
    counts.push_back(std::llround(static_cast<double>(batch) * kind.share / sum));
  }
  counts[0] = batch;
  for (std::size_t c = 1; c < counts.size(); ++c) counts[0] -= counts[c];
  return counts;
}

Columns jittered(const Columns& piece, std::int64_t width, world::Rng& rng) {
  const auto most = kJitter * static_cast<double>(piece.right - piece.left);
  const auto moved = [&](std::int64_t edge) { return edge + std::llround(rng.range(-most, most)); };
  return {std::max<std::int64_t>(0, moved(piece.left)),
          std::min<std::int64_t>(width, moved(piece.right))};
}

/// A square (or all of a narrower picture) around a place.
Columns around(std::int64_t middle, const std::array<std::int64_t, 2>& size) {
  const auto side = std::min(size[0], size[1]);
  const auto left = std::clamp<std::int64_t>(middle - side / 2, 0, size[1] - side);
  return {left, left + side};
}

/// The columns that are shown of a picture; `spec` is changed to what is seen there.
Columns choose(const Dataset& data, const world::Layout& layout, world::CaptionSpec& spec,
               world::Rng& rng) {
  const auto size = data.world().pixels(layout.canvas);
  const Columns all{0, size[1]};
  const auto count = spec.subjects.size();
  if (count == 0 || !rng.chance(kPiece)) return all;
  if (count == 1 && size[1] <= size[0]) return all;
  const auto which = static_cast<std::size_t>(rng.below(static_cast<int>(count)));
  spec.subjects = {spec.subjects[which]};
  spec.subjects[0].side = world::SideWord::kNone;
  if (count == 1) {
    const auto box = data.compositor().subjects(layout)[0].box;
    return jittered(around((box.left + box.right) / 2, size), size[1], rng);
  }
  const auto piece =
      piece_of(size[1], static_cast<std::int64_t>(which), static_cast<std::int64_t>(count));
  return jittered(piece, size[1], rng);
}

}  // namespace

Columns piece_of(std::int64_t width, std::int64_t which, std::int64_t count) {
  return {which * width / count, (which + 1) * width / count};
}

Tensor squeezed(const Tensor& pictures, std::int64_t side) {
  const auto x = to_network(pictures, torch::kFloat32);
  const bool whole = x.size(2) == x.size(3) && x.size(2) % side == 0;
  return whole ? torch::avg_pool2d(x, x.size(2) / side)
               : torch::adaptive_avg_pool2d(x, {side, side});
}

TowerViews draw_views(const Dataset& data, const ViewDraw& draw, std::int64_t step) {
  world::Rng rng(static_cast<std::uint64_t>(draw.seed), Split::kTrain,
                 static_cast<std::uint64_t>(step));
  TowerViews views;
  std::vector<Tensor> shown;
  const auto counts = shares_of(data, draw.batch);
  for (std::size_t canvas = 0; canvas < counts.size(); ++canvas) {
    const auto first = static_cast<std::int64_t>(draw.first) + step * counts[canvas];
    const auto indices = torch::arange(first, first + counts[canvas]);
    const auto pictures = data.pictures(Split::kTrain, indices, canvas);
    for (std::int64_t i = 0; i < counts[canvas]; ++i) {
      const auto layout = data.layout(Split::kTrain, first + i, canvas);
      auto spec = layout.caption;
      world::choose_words(data.world(), spec, rng);
      const auto columns = choose(data, layout, spec, rng);
      shown.push_back(
          squeezed(pictures.narrow(0, i, 1).narrow(2, columns.left, columns.right - columns.left),
                   draw.side));
      views.specs.push_back(std::move(spec));
    }
  }
  views.pictures = torch::cat(shown);
  return views;
}

}  // namespace mos::pretrain
