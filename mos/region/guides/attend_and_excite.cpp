#include <torch/nn/functional/padding.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "mos/region/guides/guides.h"

/// Attend-and-Excite (Chefer et al., 2023): every subject shall be attended to somewhere.
namespace mos::region {

using torch::Tensor;

double falling_root(const GuideTime& time) {
  const auto last = static_cast<double>(std::max<std::int64_t>(time.total - 1, 1));
  return std::sqrt(1.0 - 0.5 * static_cast<double>(time.index) / last);
}

Tensor smoothed(const Tensor& map) {
  constexpr double kSigma = 0.5;  // in positions
  // As the authors' class has it: its exponent is ((x−μ)/2σ)².
  const auto x = torch::arange(-1, 2, torch::kFloat32);
  const auto line = torch::exp(-(x / (2.0 * kSigma)).square());
  const auto kernel = line.unsqueeze(1) * line.unsqueeze(0);
  const auto weights = (kernel / kernel.sum()).view({1, 1, 3, 3}).to(map.device());
  namespace F = torch::nn::functional;
  const auto padded =
      F::pad(map.unsqueeze(0).unsqueeze(0), F::PadFuncOptions({1, 1, 1, 1}).mode(torch::kReflect));
  return torch::conv2d(padded, weights)[0][0];
}

namespace {

constexpr double kAttendEnd = 0.5;    // share of the steps in which latents are moved
constexpr double kAttendStep = 20.0;  // times falling_root
constexpr double kSharpness = 100.0;  // of the softmax over words
constexpr std::int64_t kMostRefinements = 20;

/// At these shares of the steps a subject has to have so much.
struct Threshold {
  double share, attention;
};
constexpr auto kThresholds = std::to_array<Threshold>({{0.0, 0.05}, {0.2, 0.5}, {0.4, 0.8}});

class AttendAndExcite : public LatentGuide {
 public:
  bool looks_at(const LayerPlace& place, std::int64_t level) const override {
    return place.is_cross && place.level == level;
  }

  GuideStep step_at(const GuideTime& time) const override {
    if (time.share() >= kAttendEnd) return {};
    GuideStep step{.always = 1, .size = kAttendStep * falling_root(time)};
    for (const auto& [share, attention] : kThresholds) {
      if (time.index != std::llround(share * static_cast<double>(time.total))) continue;
      step.most = kMostRefinements;
      step.enough = 1.0 - attention;
    }
    return step;
  }

  Tensor loss(const Seen& seen) const override {
    Tensor worst;
    for (const auto& subject : seen.subjects) {
      const auto lacks = (1.0 - strongest(seen, subject)).clamp_min(0.0);
      worst = worst.defined() ? torch::maximum(worst, lacks) : lacks;
    }
    return worst;
  }

 private:
  /// The subject's highest attention among the words, over all places (or those of its region).
  static Tensor strongest(const Seen& seen, const Subject& subject) {
    std::vector<Tensor> maps;
    for (const auto& layer : seen.layers) maps.push_back(layer.texts.at(subject.text));
    const auto mean = torch::cat(maps).mean(0);  // [N,S]
    // Without the first column, which takes most of all attention, and the last one.
    const auto words = torch::softmax(kSharpness * mean.slice(1, 1, mean.size(1) - 1), -1);
    const auto columns = torch::tensor(subject.columns, torch::kInt64).to(mean.device()) - 1;
    const auto& first = seen.layers.front();
    const auto map =
        words.index_select(1, columns).sum(1).view({first.size.height, first.size.width});
    auto smooth = smoothed(map).flatten();
    if (!subject.shape.is_anywhere()) {
      smooth = smooth * flat_mask(subject, first).to(map.device());
    }
    return smooth.max();
  }
};

}  // namespace

std::unique_ptr<LatentGuide> make_attend_and_excite() {
  return std::make_unique<AttendAndExcite>();
}

}  // namespace mos::region
