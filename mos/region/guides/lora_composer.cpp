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

constexpr double kComposerEnd = 0.5;  // share of the steps: 25 of 50
constexpr double kComposerStep = 20.0;
constexpr double kEnhance = 8.0, kLeak = 10.0, kFill = 2.0;
constexpr double kStrongest = 0.2;  // of the positions in a box

class LoraComposer : public LatentGuide {
 public:
  bool looks_at(const LayerPlace& place, std::int64_t level) const override {
    return place.level == level;
  }

  GuideStep step_at(const GuideTime& time) const override {
    if (time.share() >= kComposerEnd) return {};
    return {.always = 1, .size = kComposerStep * falling_root(time)};
  }

  Tensor loss(const Seen& seen) const override {
    Tensor total;
    for (const auto& subject : seen.subjects) {
      const auto part = kEnhance * weakness(seen, subject) + kLeak * leak(seen, subject) +
                        kFill * unfilled(seen, subject);
      total = total.defined() ? total + part : part;
    }
    return total / static_cast<double>(seen.subjects.size());
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
  /// Who looks at the subject's words, in 0…1 of the highest: [h,w], mean over layers and heads.
  static Tensor map_of(const Seen& seen, const Subject& subject) {
    std::vector<Tensor> maps;
    for (const auto& layer : seen.layers) {
      if (layer.place.is_cross) maps.push_back(of_words(layer, subject));
    }
    const auto mean = torch::cat(maps).mean(0);
    const auto& size = seen.layers.front().size;
    return (mean / mean.max().clamp_min(kLeastAttention)).view({size.height, size.width});
  }

  static Tensor mask_of(const Seen& seen, const Subject& subject, const Tensor& like) {
    return flat_mask(subject, seen.layers.front()).view(like.sizes()).to(like.device());
  }

  static Tensor weakness(const Seen& seen, const Subject& subject) {
    const auto map = map_of(seen, subject);
    const auto mask = mask_of(seen, subject, map);
    const auto inside = (map * mask).flatten();
    const double positions = std::max(1.0, mask.sum().item<double>());
    const auto most = std::max<std::int64_t>(1, std::llround(kStrongest * positions));
    return 1.0 - std::get<0>(inside.topk(most)).mean();
  }

  /// Share of what positions in the box look at that lies outside of it.
  static Tensor leak(const Seen& seen, const Subject& subject) {
    std::vector<Tensor> parts;
    for (const auto& layer : seen.layers) {
      if (layer.place.is_cross) continue;
      const auto mask = flat_mask(subject, layer).to(layer.self.device());
      const auto looks = layer.self.mean(0);  // [N,N]
      const auto outside = torch::matmul(looks, 1.0 - mask);
      parts.push_back((outside * mask).sum() / mask.sum().clamp_min(kLeastAttention));
    }
    return torch::stack(parts).mean();
  }

  /// The highest of each row and column against those of the box.
  static Tensor unfilled(const Seen& seen, const Subject& subject) {
    const auto map = map_of(seen, subject);
    const auto mask = mask_of(seen, subject, map);
    return (map.amax(0) - mask.amax(0)).abs().mean() + (map.amax(1) - mask.amax(1)).abs().mean();
  }

  static void copy_best(const Tensor& sample, const Seen& seen, const Subject& subject,
                        Tensor& moved) {
    const auto height = sample.size(2), width = sample.size(3);
    const auto map = map_of(seen, subject);
    const auto on_latents =
        at::upsample_bilinear2d(map.unsqueeze(0).unsqueeze(0), {height, width}, false);
    const SeenLayer whole{.size = {height, width}};
    const auto box = box_around(flat_mask(subject, whole).view({height, width}) >= 0.5);
    if (box.empty()) return;
    const auto tall = box.bottom - box.top, wide = box.right - box.left;
    const auto means = at::avg_pool2d(on_latents, {tall, wide}, {1, 1})[0][0];
    const auto best = means.argmax().item<std::int64_t>();
    const auto top = best / means.size(1), left = best % means.size(1);
    const auto part = [&](const Tensor& x, std::int64_t t, std::int64_t l) {
      return x.slice(2, t, t + tall).slice(3, l, l + wide);
    };
    part(moved, box.top, box.left).copy_(part(sample, top, left));
  }
};

}  // namespace

std::unique_ptr<LatentGuide> make_lora_composer() { return std::make_unique<LoraComposer>(); }

}  // namespace mos::region
