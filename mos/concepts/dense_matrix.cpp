#include "mos/concepts/dense_matrix.h"

#include <algorithm>
#include <array>

#include "mos/concepts/weight_forms.h"

namespace mos::concepts {

using torch::Tensor;

namespace {

using Parts = std::map<LoraPart, Tensor>;

/// Two factors a·b, or a core [r,r,k,k] between aᵀ and b; a whole matrix where they are not used.
struct Factors {
  LoraPart whole, a, b, core;
};
/// kAlpha is never among the parts: it stands for "there is none".
constexpr auto kNone = LoraPart::kAlpha;
constexpr Factors kProduct = {kNone, LoraPart::kUp, LoraPart::kDown, LoraPart::kMid};
constexpr Factors kFirstHadamard = {kNone, LoraPart::kHadamard1A, LoraPart::kHadamard1B,
                                    LoraPart::kHadamardT1};
constexpr Factors kSecondHadamard = {kNone, LoraPart::kHadamard2A, LoraPart::kHadamard2B,
                                     LoraPart::kHadamardT2};
constexpr Factors kFirstKronecker = {LoraPart::kKronecker1, LoraPart::kKronecker1A,
                                     LoraPart::kKronecker1B, kNone};
constexpr Factors kSecondKronecker = {LoraPart::kKronecker2, LoraPart::kKronecker2A,
                                      LoraPart::kKronecker2B, LoraPart::kKroneckerT2};
constexpr Factors kWholeDifference = {LoraPart::kDifference, kNone, kNone, kNone};
constexpr Factors kShifts = {LoraPart::kSpectralShift, kNone, kNone, kNone};
constexpr Factors kPlaces = {LoraPart::kSilenced, kNone, kNone, kNone};

/// The matrices that a form multiplies.
std::vector<Factors> factors_of(DenseForm form) {
  switch (form) {
    case DenseForm::kProduct:
      return {kProduct};
    case DenseForm::kHadamard:
      return {kFirstHadamard, kSecondHadamard};
    case DenseForm::kKronecker:
      return {kFirstKronecker, kSecondKronecker};
    case DenseForm::kSpectral:
      return {kShifts};
    case DenseForm::kSilenced:
      return {kPlaces};
    case DenseForm::kDifference:
      break;
  }
  return {kWholeDifference};
}

const Tensor* find(const Parts& parts, LoraPart part) {
  const auto found = parts.find(part);
  return found == parts.end() ? nullptr : &found->second;
}

Tensor exact(const Tensor& tensor) { return tensor.detach().to(torch::kCPU, torch::kFloat64); }

/// The first factor beside a core is [r,O] in LyCORIS' LoHa and LoKr, but LoCon's `up` [O,r,1,1].
Tensor beside_core(const Factors& factors, const Tensor& a) {
  return factors.core == LoraPart::kMid ? a.flatten(1).t() : a;
}

bool is_pointwise(const Tensor& factor) {
  return factor.dim() >= 2 && factor.numel() == factor.size(0) * factor.size(1);
}

/// Of a·b, nothing when they do not multiply.
std::optional<MatrixShape> product_shape(const Tensor& a, const Tensor& b) {
  if (!is_pointwise(a) || b.dim() < 2 || a.size(1) != b.size(0)) return std::nullopt;
  return MatrixShape{a.size(0), b.numel() / b.size(0)};
}

std::optional<MatrixShape> core_shape(const Tensor& core, const Tensor& a, const Tensor& b) {
  const bool fits = core.dim() == 4 && a.dim() == 2 && is_pointwise(b) &&
                    core.size(0) == a.size(0) && core.size(1) == b.size(0);
  if (!fits) return std::nullopt;
  return MatrixShape{a.size(1), b.size(1) * core.size(2) * core.size(3)};
}

std::optional<MatrixShape> shape_of(const Parts& parts, const Factors& factors) {
  if (const auto* whole = find(parts, factors.whole)) {
    const bool fits =
        factors.whole == LoraPart::kKronecker1 ? is_pointwise(*whole) : whole->dim() >= 2;
    if (!fits) return std::nullopt;
    return MatrixShape{whole->size(0), whole->numel() / whole->size(0)};
  }
  const auto *a = find(parts, factors.a), *b = find(parts, factors.b);
  if (a == nullptr || b == nullptr) return std::nullopt;
  const auto* core = find(parts, factors.core);
  if (core == nullptr) return product_shape(*a, *b);
  if (a->dim() < 2) return std::nullopt;
  return core_shape(*core, beside_core(factors, *a), *b);
}

/// Σ_ij core[i,j,·] a[i,o] b[j,c] -> [O,C·k·k].
Tensor through_core(const Tensor& core, const Tensor& a, const Tensor& b) {
  const auto inner = torch::einsum("ijk,jc->ick", {core.flatten(2), b.flatten(1)});
  return torch::einsum("ick,io->ock", {inner, a}).flatten(1);
}

Tensor matrix_of(const Parts& parts, const Factors& factors) {
  if (const auto* whole = find(parts, factors.whole)) return exact(*whole).flatten(1);
  const auto a = exact(parts.at(factors.a)), b = exact(parts.at(factors.b));
  if (const auto* core = find(parts, factors.core)) {
    return through_core(exact(*core), beside_core(factors, a), b);
  }
  return a.flatten(1).matmul(b.flatten(1));
}

/// Only the bias changes.
bool has_no_matrix(const Dense& update) {
  return update.form == DenseForm::kDifference && !update.has(LoraPart::kDifference);
}

}  // namespace

std::int64_t Dense::rank() const {
  for (const auto& factors : factors_of(form)) {
    if (const auto* core = find(parts, factors.core)) return core->size(0);
    if (const auto* b = find(parts, factors.b)) return b->size(0);
  }
  return 0;
}

std::vector<LoraPart> Dense::missing() const {
  std::vector<LoraPart> list;
  if (has_no_matrix(*this)) {
    if (!has(LoraPart::kBiasDifference)) list.push_back(LoraPart::kDifference);
    return list;
  }
  for (const auto& factors : factors_of(form)) {
    if (has(factors.whole)) continue;
    // A matrix that is there neither whole nor in half is missed as a whole where it may be one.
    if (factors.whole != kNone && !has(factors.a) && !has(factors.b)) {
      list.push_back(factors.whole);
      continue;
    }
    for (const auto part : {factors.a, factors.b}) {
      if (!has(part)) list.push_back(part);
    }
  }
  const bool one_core = has(LoraPart::kHadamardT1) != has(LoraPart::kHadamardT2);
  if (one_core) {
    list.push_back(has(LoraPart::kHadamardT1) ? LoraPart::kHadamardT2 : LoraPart::kHadamardT1);
  }
  return list;
}

bool Dense::is_sound() const {
  const bool numbers = std::all_of(parts.begin(), parts.end(), [](const auto& part) {
    return part.first == LoraPart::kSilenced ||
           (part.second.is_floating_point() && part.second.numel() > 0 && part.second.dim() > 0);
  });
  if (is_of_weight(form)) return numbers && is_sound_of_weight(*this);
  return numbers && missing().empty() && (has_no_matrix(*this) || matrix_shape(*this));
}

std::optional<MatrixShape> matrix_shape(const Dense& update) {
  if (has_no_matrix(update) || is_of_weight(update.form)) return std::nullopt;
  const auto factors = factors_of(update.form);
  const auto first = shape_of(update.parts, factors.front());
  const auto second = shape_of(update.parts, factors.back());
  if (!first || !second) return std::nullopt;
  switch (update.form) {
    case DenseForm::kKronecker:
      return MatrixShape{first->out * second->out, first->in * second->in};
    case DenseForm::kHadamard:
      if (first->out != second->out || first->in != second->in) return std::nullopt;
      break;
    case DenseForm::kProduct:
    case DenseForm::kDifference:
    case DenseForm::kSpectral:
    case DenseForm::kSilenced:
      break;
  }
  return first;
}

Tensor dense_matrix(const Dense& update) {
  const auto factors = factors_of(update.form);
  const auto first = matrix_of(update.parts, factors.front());
  switch (update.form) {
    case DenseForm::kHadamard:
      return first * matrix_of(update.parts, factors.back());
    case DenseForm::kKronecker:
      return torch::kron(first.contiguous(), matrix_of(update.parts, factors.back()).contiguous());
    case DenseForm::kProduct:
    case DenseForm::kDifference:
    case DenseForm::kSpectral:
    case DenseForm::kSilenced:
      break;
  }
  return first;
}

Tensor multiply_f64(const Tensor& up, const Tensor& down) {
  return exact(up).flatten(1).matmul(exact(down).flatten(1));
}

Tensor with_mid(const Tensor& down, const Tensor& mid) {
  const auto first = down.flatten(1).to(torch::kFloat32);  // [r',C]
  const auto kernel = mid.to(torch::kFloat32).flatten(2);  // [r,r',k·k]
  const auto product = torch::einsum("rsk,sc->rck", {kernel, first});
  return product.reshape({mid.size(0), first.size(1), mid.size(2), mid.size(3)});
}

}  // namespace mos::concepts
