#include "mos/region/auto_regions.h"

#include <algorithm>
#include <cmath>

namespace mos::region {

using torch::Tensor;

namespace {

constexpr double kSeeds = 0.1;       // of the positions
constexpr double kBeyondBox = 0.05;  // of a subject's positions, on each side

/// The mean over layers and heads of what looks at each subject, in units of its own mean: [K,N].
Tensor looks_of(const Seen& seen) {
  std::vector<Tensor> maps;
  for (const auto& subject : seen.subjects) {
    std::vector<Tensor> of_subject;
    for (const auto& layer : seen.layers) {
      if (layer.place.is_cross) of_subject.push_back(of_words(layer, subject));
    }
    const auto mean = torch::cat(of_subject).mean(0);
    maps.push_back(mean / mean.mean());
  }
  return torch::stack(maps);
}

/// How like each other positions are: cosines [N,N] of the outputs of self-attention.
Tensor likeness_of(const Seen& seen) {
  std::vector<Tensor> outputs;
  for (const auto& layer : seen.layers) {
    if (layer.place.is_cross) continue;
    const auto x = layer.output.to(torch::kFloat32);
    const auto centred = x - x.mean(0, /*keepdim=*/true);
    outputs.push_back(centred / centred.norm(2, {1}, /*keepdim=*/true).clamp_min(1e-6));
  }
  const auto all = torch::cat(outputs, 1);
  return torch::matmul(all, all.t()) / static_cast<double>(outputs.size());
}

/// From where to where `sorted` values reach without the outermost.
std::pair<std::int64_t, std::int64_t> span_of(const Tensor& values) {
  const auto sorted = std::get<0>(values.sort());
  const auto count = sorted.numel();
  const auto beyond = static_cast<std::int64_t>(kBeyondBox * static_cast<double>(count));
  return {sorted[beyond].item<std::int64_t>(), sorted[count - 1 - beyond].item<std::int64_t>() + 1};
}

Box box_of(const Tensor& positions, const nn::FeatureSize& size) {
  const auto [top, bottom] = span_of(torch::floor_divide(positions, size.width));
  const auto [left, right] = span_of(positions % size.width);
  const auto height = static_cast<double>(size.height), width = static_cast<double>(size.width);
  return {static_cast<double>(top) / height, static_cast<double>(left) / width,
          static_cast<double>(bottom) / height, static_cast<double>(right) / width};
}

}  // namespace

std::vector<Box> find_boxes(const Seen& seen) {
  const auto looks = looks_of(seen).to(torch::kCPU);
  const auto likeness = likeness_of(seen).to(torch::kCPU);
  const auto subjects = looks.size(0), positions = looks.size(1);
  const auto seeds =
      std::max<std::int64_t>(1, std::llround(kSeeds * static_cast<double>(positions)));
  std::vector<Tensor> scores, seeds_of;
  for (std::int64_t k = 0; k < subjects; ++k) {
    const auto others = (looks.sum(0) - looks[k]) / static_cast<double>(subjects - 1);
    seeds_of.push_back(std::get<1>((looks[k] - others).topk(seeds)));
    const auto score = likeness.index_select(0, seeds_of.back()).mean(0);
    // In units of its own, so that no subject takes all.
    scores.push_back((score - score.mean()) / score.std().clamp_min(1e-6));
  }
  const auto all = torch::stack(scores);
  const auto owner = all.argmax(0);
  std::vector<Box> boxes;
  for (std::int64_t k = 0; k < subjects; ++k) {
    const auto own = ((owner == k) & (all[k] > 0.0)).nonzero().flatten();
    boxes.push_back(box_of(own.numel() > 0 ? own : seeds_of[static_cast<std::size_t>(k)],
                           seen.layers.front().size));
  }
  return boxes;
}

}  // namespace mos::region
