#include <ATen/Functions.h>

#include <algorithm>
#include <cmath>

#include "mos/region/guides/guides.h"
#include "mos/region/region_mask.h"

/// LoRA-Composer's guidance (Yang et al., 2024): each concept is strong in its box, fills it, and
/// what lies in it looks at nothing else; and its first sample.
namespace mos::region {

using torch::Tensor;

namespace {

constexpr double kComposerEnd = 0.5;    // share of the steps: the last is 25 of 0 to 49
constexpr double kComposerFirst = 0.1;  // share of them in which a higher loss ends nothing
constexpr double kComposerStep = 20.0;
constexpr double kEnhance = 8.0, kLeak = 10.0, kFill = 2.0;
constexpr double kStrongest = 0.2;  // of the positions in a box

/// A hill over the box around `mask` [h,w], 1 at its middle, inside of the mask: a normal
/// distribution whose σ is half of the box.
Tensor hill_over(const Tensor& mask) {
  const auto box = box_around(mask);
  auto hill = torch::zeros_like(mask);
  if (box.empty()) return hill;
  const auto line = [](std::int64_t count) {
    return torch::exp(-torch::linspace(-1.0, 1.0, count, torch::kFloat32).square() / 2.0);
  };
  const auto inside =
      line(box.bottom - box.top).unsqueeze(1) * line(box.right - box.left).unsqueeze(0);
  hill.slice(0, box.top, box.bottom)
      .slice(1, box.left, box.right)
      .copy_(inside / inside.max().clamp_min(kLeastAttention));
  return hill * mask;
}

/// How far the highest of each row and of each column of `map` are from those of `mask`.
Tensor unfilled(const Tensor& map, const Tensor& mask) {
  return (map.amax(0) - mask.amax(0)).abs().mean() + (map.amax(1) - mask.amax(1)).abs().mean();
}

class LoraComposer : public LatentGuide {
 public:
  bool looks_at(const LayerPlace& place, std::int64_t level) const override {
    return place.level == level;
  }

  GuideStep step_at(const GuideTime& time) const override {
    if (time.share() > kComposerEnd) return {};
    return {.always = 1,
            .size = kComposerStep * falling_root(time),
            .last_if_worse = time.share() >= kComposerFirst};
  }

  /// Over subjects: the leak of each, and of each of its words what is weak and what unfilled.
  Tensor loss(const Seen& seen) const override {
    Tensor total;
    for (const auto& subject : seen.subjects) {
      const auto maps = maps_of(seen, subject);
      const auto mask = mask_of(seen, subject).to(maps.device());
      const double positions = mask.sum().item<double>();
      const auto most =
          std::max<std::int64_t>(1, static_cast<std::int64_t>(kStrongest * positions));
      const auto hill = hill_over(mask);
      auto part = kLeak * leak(seen, subject, most);
      for (std::int64_t word = 0; word < maps.size(0); ++word) {
        const auto map = smoothed(maps[word]);
        const auto strongest = std::get<0>((map * hill).flatten().topk(most)).mean();
        part =
            part + kEnhance * (1.0 - strongest).clamp_min(0.0) + kFill * unfilled(map * mask, mask);
      }
      total = total.defined() ? total + part : part;
    }
    return total;
  }

  bool begins() const override { return true; }

  /// Where the words of a region are seen best, that part of the noise becomes its own.
  Tensor beginning(const Tensor& sample, const Seen& seen) const override {
    auto moved = sample.clone();
    for (const auto& subject : seen.subjects) copy_best(sample, seen, subject, moved);
    const auto deviation = [](const Tensor& x) { return x.std(); };
    return (moved - moved.mean()) / deviation(moved) * deviation(sample) + sample.mean();
  }

 private:
  /// Who looks at each of the subject's words: [words,h,w], mean over layers and heads.
  static Tensor maps_of(const Seen& seen, const Subject& subject) {
    std::vector<Tensor> maps;
    for (const auto& layer : seen.layers) {
      if (layer.place.is_cross) maps.push_back(layer.texts.at(subject.text));
    }
    const auto mean = torch::cat(maps).mean(0);  // [N,S]
    const auto columns = torch::tensor(subject.columns, torch::kInt64).to(mean.device());
    const auto& size = seen.layers.front().size;
    return mean.index_select(1, columns).t().reshape({columns.numel(), size.height, size.width});
  }

  static Tensor mask_of(const Seen& seen, const Subject& subject) {
    const auto& first = seen.layers.front();
    return flat_mask(subject, first).view({first.size.height, first.size.width});
  }

  /// The mean of the `most` strongest looks from inside of the box to outside of it.
  static Tensor leak(const Seen& seen, const Subject& subject, std::int64_t most) {
    std::vector<Tensor> looks;
    for (const auto& layer : seen.layers) {
      if (!layer.place.is_cross) looks.push_back(isolated_self(seen, layer));
    }
    const auto mean = torch::cat(looks).mean(0);  // [N,N]
    const auto mask = mask_of(seen, subject).flatten().to(mean.device());
    const auto leaving = mean * mask.unsqueeze(1) * (1.0 - mask).unsqueeze(0);
    return std::get<0>(leaving.flatten().topk(most)).mean();
  }

  static void copy_best(const Tensor& sample, const Seen& seen, const Subject& subject,
                        Tensor& moved) {
    const auto map = maps_of(seen, subject).sum(0);
    const auto box = box_around(mask_of(seen, subject));
    if (box.empty()) return;
    const auto tall = box.bottom - box.top, wide = box.right - box.left;
    const auto means = at::avg_pool2d(map.unsqueeze(0), {tall, wide}, {1, 1})[0];
    const auto best = means.argmax().item<std::int64_t>();
    const auto top = best / means.size(1), left = best % means.size(1);
    const auto part = [&](const Tensor& x, std::int64_t dim, std::int64_t from, std::int64_t to,
                          std::int64_t count) {
      // Positions of the sample for each of the map, which has one more where they do not divide.
      const auto size = x.size(dim), cells = map.size(dim - 2);
      const auto each = (size + cells - 1) / cells;
      const auto length = std::min(count * each, size - std::max(from, to) * each);
      return x.slice(dim, from * each, from * each + length);
    };
    const auto source = part(part(sample, 2, top, box.top, tall), 3, left, box.left, wide);
    const auto target = part(part(moved, 2, box.top, top, tall), 3, box.left, left, wide);
    target.copy_(source);
  }
};

}  // namespace

std::unique_ptr<LatentGuide> make_lora_composer() { return std::make_unique<LoraComposer>(); }

}  // namespace mos::region
