#include <vector>

#include "mos/region/guides/guides.h"

/// Bounded attention (Dahary et al., 2024), its guidance: each subject's attention has its box and
/// little of what is in no box. Its masks are the regions' own: the words of others are not read in
/// a region, and regions do not see each other. The numbers are those of the authors' script for
/// Stable Diffusion 1.5 (run_sd.py).
namespace mos::region {

using torch::Tensor;

namespace {

constexpr double kBoundedEnd = 0.3;  // share of the steps: 15 of 50
constexpr double kCross = 1.5, kSelf = 0.5;
constexpr double kFirstStep = 8.0, kLastStep = 2.0;  // the second is where the steps would end
constexpr double kBoundedEnough = 0.2;               // of each subject
constexpr std::int64_t kBoundedMost = 5;

/// Who looks at something, [N] each: from inside of the box, and from where there is none.
struct Lookers {
  Tensor inside, outside;
};

/// Who looks at the subject's words. In its box those that its region does not read take nothing.
Lookers at_words(const SeenLayer& layer, const Subject& subject) {
  const auto words = of_words(layer, subject);
  if (subject.hidden.empty()) return {words.mean(0), words.mean(0)};
  const auto hidden = of_words(layer, {.text = subject.text, .columns = subject.hidden});
  const auto read = words / (1.0 - hidden).clamp_min(kLeastAttention);
  return {read.mean(0), words.mean(0)};
}

/// Who looks at the positions of the subject's box.
Lookers at_box(const Seen& seen, const SeenLayer& layer, const Tensor& mask) {
  const auto looks = torch::matmul(isolated_self(seen, layer).mean(0), mask);
  return {looks, looks};
}

class BoundedAttention : public LatentGuide {
 public:
  bool looks_at(const LayerPlace& place, std::int64_t level) const override {
    return place.level == level;
  }

  GuideStep step_at(const GuideTime& time) const override {
    if (time.share() >= kBoundedEnd) return {};
    const double along = time.share() / kBoundedEnd;
    // The authors ask whether it is enough behind each move, so that there is one at least.
    return {.most = kBoundedMost - 1,
            .enough = kBoundedEnough * static_cast<double>(time.subjects),
            .always = 1,
            .size = kFirstStep + (kLastStep - kFirstStep) * along};
  }

  Tensor loss(const Seen& seen) const override {
    Tensor total;
    for (const auto& subject : seen.subjects) {
      const auto both = kCross * missed(seen, subject, /*cross=*/true) +
                        kSelf * missed(seen, subject, /*cross=*/false);
      total = total.defined() ? total + both : both;
    }
    return total;
  }

 private:
  /// (1 − IoU)² over the watched layers of one kind, whose attention comes together before.
  static Tensor missed(const Seen& seen, const Subject& subject, bool cross) {
    std::vector<Tensor> inside, outside;
    for (const auto& layer : seen.layers) {
      if (layer.place.is_cross != cross) continue;
      const auto& like = cross ? layer.texts.at(subject.text) : layer.self;
      const auto mask = flat_mask(subject, layer).to(like.device());
      const auto free = background_mask(seen, layer).to(like.device());
      const auto look = cross ? at_words(layer, subject) : at_box(seen, layer, mask);
      inside.push_back((look.inside * mask).sum());
      outside.push_back((look.outside * free).sum());
    }
    const auto in = torch::stack(inside).mean(), out = torch::stack(outside).mean();
    const auto all = in + static_cast<double>(seen.subjects.size()) * out;
    return (1.0 - in / all.clamp_min(kLeastAttention)).square();
  }
};

}  // namespace

std::unique_ptr<LatentGuide> make_bounded_attention() {
  return std::make_unique<BoundedAttention>();
}

}  // namespace mos::region
