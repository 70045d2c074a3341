#include "mos/concepts/layer_update.h"

#include <fmt/core.h>

#include <algorithm>
#include <limits>

#include "mos/base/error.h"
#include "mos/concepts/dense_matrix.h"
#include "mos/concepts/weight_forms.h"
#include "mos/io/state_dict.h"

namespace mos::concepts {

using torch::Tensor;

namespace {

/// Singular values below this share of the largest are what float64 leaves of a zero.
constexpr double kNoise = 1e-12;

bool fits_pair(const LowRank& pair, std::int64_t out_features, std::int64_t in_features) {
  return in_features == pair.down.numel() / pair.rank() && out_features == pair.up.size(0);
}

/// Whether `magnitude` has one number for each output or each input channel of such a weight.
bool fits_magnitude(const Tensor& magnitude, torch::IntArrayRef weight) {
  return magnitude.size(0) == weight[0]
             ? magnitude.numel() == weight[0]
             : magnitude.dim() > 1 && magnitude.size(0) == 1 && magnitude.size(1) == weight[1] &&
                   magnitude.numel() == weight[1];
}

bool fits_dense(const Dense& update, torch::IntArrayRef weight, std::int64_t in_features) {
  if (!update.is_sound()) return false;
  const auto bias = update.parts.find(LoraPart::kBiasDifference);
  if (bias != update.parts.end() && bias->second.numel() != weight[0]) return false;
  const auto magnitude = update.parts.find(LoraPart::kMagnitude);
  if (magnitude != update.parts.end() && !fits_magnitude(magnitude->second, weight)) return false;
  if (is_of_weight(update.form)) return fits_weight(update, weight);
  const auto shape = matrix_shape(update);
  return !shape || (shape->out == weight[0] && shape->in == in_features);
}

/// DoRA: the weight with the norms that `magnitude` says, over all that belongs to one output or,
/// in LyCORIS without wd_on_output, to one input channel. float64.
Tensor with_magnitude(const Tensor& tuned, const Tensor& magnitude) {
  const std::int64_t kept = magnitude.size(0) == tuned.size(0) ? 0 : 1;
  std::vector<std::int64_t> others, shape(static_cast<std::size_t>(tuned.dim()), 1);
  for (std::int64_t d = 0; d < tuned.dim(); ++d) {
    if (d != kept) others.push_back(d);
  }
  shape[static_cast<std::size_t>(kept)] = tuned.size(kept);
  const auto norms = tuned.square().sum(others, /*keepdim=*/true).sqrt();
  // A row of zeros has no direction to give a length to; it stays zero.
  return tuned * magnitude.to(torch::kFloat64).view(shape) /
         norms.clamp_min(std::numeric_limits<double>::min());
}

/// ΔW of all forms in float64 on the CPU, in the shape of the weight.
Tensor exact_difference(const LayerUpdate& update, const Tensor& weight) {
  const auto* dense = update.dense();
  if (dense == nullptr) {
    const auto& pair = update.low_rank();
    return (multiply_f64(pair.up, pair.down) * pair.scale).view(weight.sizes());
  }
  if (is_of_weight(dense->form)) return difference_of_weight(*dense, weight, 1.0);
  const auto shape = matrix_shape(*dense);
  const auto change = shape ? (dense_matrix(*dense) * dense->scale).view(weight.sizes())
                            : torch::zeros(weight.sizes(), torch::kFloat64);
  if (!dense->has(LoraPart::kMagnitude)) return change;
  const auto before = weight.detach().to(torch::kCPU, torch::kFloat64);
  return with_magnitude(before + change, dense->parts.at(LoraPart::kMagnitude)) - before;
}

/// [r,I] and [O,r] in the shapes that the factors of a layer with such a weight have.
LowRank in_shape_of(torch::IntArrayRef weight, const Tensor& up, const Tensor& down) {
  auto down_shape = weight.vec();
  down_shape[0] = down.size(0);
  std::vector<std::int64_t> up_shape(weight.size(), 1);
  up_shape[0] = weight[0];
  up_shape[1] = up.size(1);
  return {.down = down.reshape(down_shape), .up = up.reshape(up_shape)};
}

struct Singular {
  Tensor up;      ///< [O,n] left vectors times the roots of their values.
  Tensor values;  ///< [n]
  Tensor down;    ///< [n,I] right vectors, likewise.
};

Singular singular_vectors(const Tensor& difference) {
  auto [left, values, right] = torch::linalg_svd(difference.flatten(1), /*full_matrices=*/false);
  const auto roots = values.sqrt();
  return {left * roots, values, roots.unsqueeze(1) * right};
}

bool is_plain_product(const Dense& update) {
  return update.form == DenseForm::kProduct && !update.has(LoraPart::kMagnitude);
}

/// A product of factors alone is a pair.
LowRank pair_of(const Dense& update) {
  const auto& down = update.parts.at(LoraPart::kDown);
  const auto mid = update.parts.find(LoraPart::kMid);
  return {.down = mid == update.parts.end() ? down : with_mid(down, mid->second),
          .up = update.parts.at(LoraPart::kUp),
          .scale = update.scale};
}

[[noreturn]] void refuse_form(const char* wanted) {
  throw Error(
      ErrorKind::kMismatch,
      fmt::format("the update of a layer is not {}, which is what can be used here", wanted));
}

}  // namespace

std::string_view name_of(DenseForm form) {
  switch (form) {
    case DenseForm::kProduct:
      return "LoRA";
    case DenseForm::kHadamard:
      return "LoHa (LyCORIS)";
    case DenseForm::kKronecker:
      return "LoKr (LyCORIS)";
    case DenseForm::kSpectral:
      return "spectral shifts (SVDiff)";
    case DenseForm::kSilenced:
      return "silenced neurons (Cones)";
    case DenseForm::kDifference:
      break;
  }
  return "full differences (LyCORIS)";
}

LayerUpdate with_bias(LowRank pair, const Tensor& bias) {
  if (!bias.defined()) return pair;
  return Dense{.form = DenseForm::kProduct,
               .parts = {{LoraPart::kDown, pair.down},
                         {LoraPart::kUp, pair.up},
                         {LoraPart::kBiasDifference, bias}},
               .scale = pair.scale};
}

Tensor lora_update(const LowRank& pair) {
  const auto up = pair.up.to(torch::kFloat32), down = pair.down.to(torch::kFloat32);
  auto shape = down.sizes().vec();
  shape[0] = up.size(0);
  return (up.flatten(1).matmul(down.flatten(1)) * pair.scale).view(shape);
}

LowRank& LayerUpdate::low_rank() {
  if (auto* pair = std::get_if<LowRank>(&form_)) return *pair;
  refuse_form("low-rank");
}

const LowRank& LayerUpdate::low_rank() const {
  if (const auto* pair = std::get_if<LowRank>(&form_)) return *pair;
  refuse_form("low-rank");
}

std::int64_t LayerUpdate::rank() const {
  return is_low_rank() ? low_rank().rank() : dense()->rank();
}

double LayerUpdate::alpha() const {
  const double scale = is_low_rank() ? low_rank().scale : dense()->scale;
  return scale * static_cast<double>(rank());
}

std::optional<LowRank> LayerUpdate::as_pair() const {
  if (is_low_rank()) return low_rank();
  return is_plain_product(*dense()) ? std::optional(pair_of(*dense())) : std::nullopt;
}

std::optional<MatrixShape> LayerUpdate::features() const {
  if (!is_low_rank()) return matrix_shape(*dense());
  const auto& pair = low_rank();
  return MatrixShape{pair.up.size(0), pair.down.numel() / pair.rank()};
}

bool LayerUpdate::changes_weight() const {
  return is_low_rank() || is_of_weight(dense()->form) || matrix_shape(*dense());
}

bool LayerUpdate::silences() const {
  return !is_low_rank() && dense()->form == DenseForm::kSilenced;
}

bool LayerUpdate::depends_on_weight() const {
  const auto* update = dense();
  return update != nullptr && (is_of_weight(update->form) || update->has(LoraPart::kMagnitude));
}

bool LayerUpdate::fits(torch::IntArrayRef weight_shape) const {
  std::int64_t in_features = 1;
  for (const auto size : weight_shape.slice(1)) in_features *= size;
  if (const auto* update = dense()) return fits_dense(*update, weight_shape, in_features);
  return fits_pair(low_rank(), weight_shape[0], in_features);
}

std::string LayerUpdate::shapes() const {
  if (is_low_rank()) {
    return fmt::format("LoRA down {} and up {}", io::shape_text(low_rank().down.sizes()),
                       io::shape_text(low_rank().up.sizes()));
  }
  std::string text;
  for (const auto& [part, tensor] : dense()->parts) {
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", name_of(part),
                        io::shape_text(tensor.sizes()));
  }
  return text;
}

Tensor LayerUpdate::difference(const Tensor& weight, double merge_scale) const {
  if (const auto pair = as_pair()) {
    return merge_scale * lora_update(*pair).view(weight.sizes()).to(weight.device());
  }
  const auto change = is_of_weight(dense()->form)
                          ? difference_of_weight(*dense(), weight, merge_scale)
                          : exact_difference(*this, weight);
  const auto single = change.to(weight.device(), torch::kFloat32);
  return is_of_weight(dense()->form) ? single : merge_scale * single;
}

Tensor LayerUpdate::apply_to(const Tensor& weight, double merge_scale) const {
  return weight.detach().to(torch::kFloat32) + difference(weight, merge_scale);
}

Tensor LayerUpdate::bias_difference() const {
  const auto* update = dense();
  if (update == nullptr || !update->has(LoraPart::kBiasDifference)) return {};
  return update->parts.at(LoraPart::kBiasDifference).to(torch::kFloat32).flatten();
}

LowRank LayerUpdate::factored(const Tensor& weight) const {
  if (const auto pair = as_pair()) return *pair;
  const auto singular = singular_vectors(exact_difference(*this, weight));
  const auto counted = std::max<std::int64_t>(
      1, (singular.values > kNoise * singular.values.max()).sum().item<std::int64_t>());
  return in_shape_of(weight.sizes(), singular.up.narrow(1, 0, counted),
                     singular.down.narrow(0, 0, counted));
}

Approximation LayerUpdate::as_low_rank(std::int64_t rank, const Tensor& weight) const {
  const auto exact = exact_difference(*this, weight);
  const double whole = exact.square().sum().item<double>();
  const auto pair = as_pair();
  if (pair && pair->rank() <= rank) return {*pair, 0.0, whole};
  const auto singular = singular_vectors(exact);
  const auto kept = std::min(rank, singular.values.size(0));
  const auto factors =
      in_shape_of(weight.sizes(), singular.up.narrow(1, 0, kept), singular.down.narrow(0, 0, kept));
  return {.update = {.down = factors.down.to(torch::kFloat32).contiguous(),
                     .up = factors.up.to(torch::kFloat32).contiguous()},
          .rest = singular.values.slice(0, kept).square().sum().item<double>(),
          .whole = whole};
}

void LayerUpdate::for_each_tensor(const std::function<void(Tensor&)>& visit) {
  if (auto* pair = std::get_if<LowRank>(&form_)) {
    visit(pair->down);
    visit(pair->up);
    return;
  }
  for (auto& [part, tensor] : std::get<Dense>(form_).parts) {
    if (part != LoraPart::kSilenced) visit(tensor);
  }
}

}  // namespace mos::concepts
