#include "mos/pretrain/adapter_effect.h"

#include <algorithm>

#include "mos/io/edges.h"
#include "mos/io/image.h"
#include "mos/pretrain/vae_training.h"

namespace mos::pretrain {

using torch::Tensor;
using world::Box;
using world::Split;

namespace {

constexpr std::size_t kPictures = 48;
constexpr std::int64_t kMargin = 2;      // columns at either side that show only background
constexpr double kDifferent = 30.0;      // of 255, in one channel
constexpr std::int64_t kTolerance = 2;   // pixels between edges that agree
constexpr std::int64_t kSheetPairs = 6;  // captions in a row of the sheet

bool suits(const world::CaptionSpec& spec, ConditionKind kind) {
  if (kind == ConditionKind::kSketch) return true;
  return spec.subjects.size() == 1 && spec.background == world::BackgroundKind::kColour;
}

Tensor chosen_indices(const Dataset& data, ConditionKind kind) {
  std::vector<std::int64_t> indices;
  for (std::int64_t i = 0; i < data.size(Split::kHeldOut) && indices.size() < kPictures; ++i) {
    if (suits(data.layout(Split::kHeldOut, i).caption, kind)) indices.push_back(i);
  }
  return torch::tensor(indices);
}

/// First and last true of `line` bool [N].
std::pair<std::int64_t, std::int64_t> ends_of(const Tensor& line) {
  const auto where = line.nonzero();
  return {where.min().item<std::int64_t>(), where.max().item<std::int64_t>() + 1};
}

/// bool [H,W]: an edge lies within kTolerance.
Tensor near_edges(const Tensor& edges) {
  return torch::max_pool2d(edges.to(torch::kFloat32).permute({2, 0, 1}).unsqueeze(0),
                           2 * kTolerance + 1, 1, kTolerance)
      .squeeze()
      .gt(0);
}

class EffectJudge {
 public:
  EffectJudge(const Dataset& data, ConditionKind kind, const Tensor& indices)
      : data_(data), kind_(kind), indices_(indices) {}

  /// Mean over pictures uint8 [B,H,W,3] of the chosen indices.
  double operator()(const Tensor& pictures) const {
    double sum = 0.0;
    for (std::int64_t i = 0; i < pictures.size(0); ++i) {
      sum += judge(pictures[i], indices_[i].item<std::int64_t>());
    }
    return sum / static_cast<double>(std::max<std::int64_t>(1, pictures.size(0)));
  }

 private:
  double judge(const Tensor& picture, std::int64_t index) const {
    if (kind_ == ConditionKind::kSketch) {
      const auto drawn = data_.pictures(Split::kHeldOut, torch::tensor({index}))[0];
      return edge_agreement(io::edge_picture(picture), io::edge_picture(drawn));
    }
    const auto& compositor = data_.compositor();
    const auto layout = data_.layout(Split::kHeldOut, index);
    const auto found = subject_box(picture);
    return found ? box_overlap(*found, compositor.subjects(layout).front().box) : 0.0;
  }

  const Dataset& data_;
  ConditionKind kind_;
  Tensor indices_;
};

Tensor copied_by(nn::AutoencoderKL& vae, const Dataset& data, const Tensor& indices) {
  const auto weight = vae->parameters().front();
  const auto pictures = data.batch(Split::kHeldOut, indices, weight.scalar_type());
  return from_network(vae->decode(vae->encode(pictures.to(weight.device())).mean).to(torch::kCPU));
}

Tensor sheet_of(const Tensor& conditions, const Tensor& without, const Tensor& with) {
  const auto shown = (conditions * 255.0).to(torch::kUInt8).permute({0, 2, 3, 1});
  std::vector<Tensor> cells;
  for (std::int64_t i = 0; i < with.size(0); ++i) {
    cells.push_back(shown[i].expand_as(with[i]).contiguous());
    cells.push_back(without[i]);
    cells.push_back(with[i]);
  }
  return io::make_grid(cells, 3 * kSheetPairs, 2);
}

}  // namespace

std::optional<Box> subject_box(const Tensor& picture) {
  const auto values = picture.to(torch::kFloat32);
  const auto width = values.size(1);
  const auto edge =
      torch::cat({values.narrow(1, 0, kMargin), values.narrow(1, width - kMargin, kMargin)}, 1)
          .mean(1, true);
  const auto different = (values - edge).abs().amax(2).gt(kDifferent);
  if (!different.any().item<bool>()) return std::nullopt;
  const auto [top, bottom] = ends_of(different.any(1));
  const auto [left, right] = ends_of(different.any(0));
  return Box{.top = top, .left = left, .bottom = bottom, .right = right};
}

double box_overlap(const Box& a, const Box& b) {
  const auto area = [](const Box& box) {
    return static_cast<double>(std::max<std::int64_t>(0, box.bottom - box.top) *
                               std::max<std::int64_t>(0, box.right - box.left));
  };
  const double common = area({.top = std::max(a.top, b.top),
                              .left = std::max(a.left, b.left),
                              .bottom = std::min(a.bottom, b.bottom),
                              .right = std::min(a.right, b.right)});
  return common / (area(a) + area(b) - common);
}

double edge_agreement(const Tensor& a, const Tensor& b) {
  const auto edges_a = a.squeeze(-1).gt(0), edges_b = b.squeeze(-1).gt(0);
  const double count_a = edges_a.sum().item<double>(), count_b = edges_b.sum().item<double>();
  if (count_a == 0.0 || count_b == 0.0) return 0.0;
  const double share_a = (edges_a & near_edges(b)).sum().item<double>() / count_a;
  const double share_b = (edges_b & near_edges(a)).sum().item<double>() / count_b;
  return share_a + share_b == 0.0 ? 0.0 : 2.0 * share_a * share_b / (share_a + share_b);
}

AdapterEffect adapter_effect(diffusion::Model model, const nn::T2IAdapter& adapter,
                             ConditionKind kind, const Dataset& data,
                             const SampleOptions& options) {
  const torch::NoGradGuard no_grad;
  const auto indices = chosen_indices(data, kind);
  std::vector<std::string> captions;
  for (std::int64_t i = 0; i < indices.size(0); ++i) {
    captions.push_back(data.caption(Split::kHeldOut, indices[i].item<std::int64_t>()));
  }
  const auto conditions = condition_pictures(data, Split::kHeldOut, indices, kind);
  const auto without = sample_pictures(model, captions, options);
  const auto with = sample_pictures(model, captions, options, Steering{adapter, conditions});
  const EffectJudge judge(data, kind, indices);
  return {.with = judge(with),
          .without = judge(without),
          .drawn = judge(copied_by(model.vae, data, indices)),
          .sheet = sheet_of(conditions, without, with)};
}

}  // namespace mos::pretrain
