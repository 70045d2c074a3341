#include "mos/region/guides/guides.h"

/// Training-free layout control with cross-attention guidance (Chen et al., 2023), the backward
/// guidance: of all that looks at a word, as much as can be shall lie in its box.
namespace mos::region {

using torch::Tensor;

namespace {

constexpr double kLayoutEnd = 0.2;  // share of the steps: 10 of 50
constexpr double kLayoutScale = 30.0;
constexpr double kLayoutEnough = 0.2;
constexpr std::int64_t kLayoutMost = 5;

class LayoutGuidance : public LatentGuide {
 public:
  /// The mid block and the first up block that has attention, on whose layers the authors settled.
  bool looks_at(const LayerPlace& place, std::int64_t /*level*/) const override {
    return place.is_cross && (place.is_mid || place.is_first_up);
  }

  /// The authors' step is σ² on samples of deviation √(1+σ²); on the network's own, 1 − ᾱ.
  GuideStep step_at(const GuideTime& time) const override {
    if (time.share() >= kLayoutEnd) return {};
    return {.most = kLayoutMost, .enough = kLayoutEnough, .size = kLayoutScale * time.noise};
  }

  /// Mean over layers, heads, subjects and words of (1 − share in the box)².
  Tensor loss(const Seen& seen) const override {
    Tensor sum;
    for (const auto& layer : seen.layers) {
      for (const auto& subject : seen.subjects) {
        const auto& map = layer.texts.at(subject.text);
        const auto columns = torch::tensor(subject.columns, torch::kInt64).to(map.device());
        const auto words = map.index_select(2, columns);  // [heads,N,words]
        const auto mask = flat_mask(subject, layer).to(map.device()).view({1, -1, 1});
        const auto inside = (words * mask).sum(1) / words.sum(1).clamp_min(kLeastAttention);
        const auto part = (1.0 - inside).square().mean();
        sum = sum.defined() ? sum + part : part;
      }
    }
    return sum / static_cast<double>(seen.layers.size() * seen.subjects.size());
  }
};

}  // namespace

std::unique_ptr<LatentGuide> make_layout_guidance() { return std::make_unique<LayoutGuidance>(); }

}  // namespace mos::region
