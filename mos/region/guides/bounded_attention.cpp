#include <algorithm>

#include "mos/region/guides/guides.h"

/// Bounded attention (Dahary et al., 2024), its guidance: each subject's attention has its box and
/// little else. Its masks are the regions' own: the words of others are not read in a region, and
/// regions do not see each other.
namespace mos::region {

using torch::Tensor;

namespace {

constexpr double kBoundedEnd = 0.3;  // share of the steps: 15 of 50
constexpr double kCross = 1.5, kSelf = 0.5;
constexpr double kFirstStep = 18.0, kLastStep = 5.0;
constexpr double kBoundedEnough = 0.2;
constexpr std::int64_t kBoundedMost = 5;

/// (1 − IoU)² of attention that falls inside and outside, `subjects` of them.
Tensor missed(const Tensor& inside, const Tensor& outside, double subjects) {
  const auto union_of_both = inside + subjects * outside;
  return (1.0 - inside / union_of_both.clamp_min(kLeastAttention)).square();
}

class BoundedAttention : public LatentGuide {
 public:
  bool looks_at(const LayerPlace& place, std::int64_t level) const override {
    return place.level == level;
  }

  GuideStep step_at(const GuideTime& time) const override {
    const auto last = std::max(1.0, kBoundedEnd * static_cast<double>(time.total) - 1.0);
    if (time.share() >= kBoundedEnd) return {};
    const double along = std::min(1.0, static_cast<double>(time.index) / last);
    return {.most = kBoundedMost,
            .enough = kBoundedEnough,
            .size = kFirstStep + (kLastStep - kFirstStep) * along};
  }

  Tensor loss(const Seen& seen) const override {
    const auto subjects = static_cast<double>(seen.subjects.size());
    Tensor total;
    for (const auto& subject : seen.subjects) {
      const auto cross = mean_of(seen, subject, true, subjects);
      const auto self = mean_of(seen, subject, false, subjects);
      const auto both = kCross * cross + kSelf * self;
      total = total.defined() ? total + both : both;
    }
    return total;
  }

 private:
  /// Over the watched layers of one kind.
  static Tensor mean_of(const Seen& seen, const Subject& subject, bool cross, double subjects) {
    std::vector<Tensor> parts;
    for (const auto& layer : seen.layers) {
      if (layer.place.is_cross != cross) continue;
      const auto& of_layer = cross ? layer.texts.at(subject.text) : layer.self;
      const auto mask = flat_mask(subject, layer).to(of_layer.device());
      // Cross: who looks at its words. Self: what its own positions look at.
      const auto map = cross ? of_words(layer, subject).mean(0)
                             : (layer.self.mean(0) * mask.unsqueeze(1)).sum(0);
      parts.push_back(missed((map * mask).sum(), (map * (1.0 - mask)).sum(), subjects));
    }
    return torch::stack(parts).mean();
  }
};

}  // namespace

std::unique_ptr<LatentGuide> make_bounded_attention() {
  return std::make_unique<BoundedAttention>();
}

}  // namespace mos::region
