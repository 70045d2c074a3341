#pragma once

#include <torch/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

/// What tuning changed in one layer: its update, in the form that the file has it in.
///
/// Letters: O output and I input features of the layer, C channels and k side of a convolution's
/// kernel (I = C·k·k), r rank. A linear layer has no k.
namespace mos::concepts {

/// A tensor of an update, by its place in the formula of its form (see DenseForm).
enum class LoraPart {
  kDown,
  kUp,
  kMid,  ///< A k×k kernel [r,r,k,k] between two pointwise factors (LoCon's Tucker decomposition).
  kAlpha,
  kHadamard1A,
  kHadamard1B,
  kHadamard2A,
  kHadamard2B,
  kHadamardT1,
  kHadamardT2,
  kKronecker1,
  kKronecker1A,
  kKronecker1B,
  kKronecker2,
  kKronecker2A,
  kKronecker2B,
  kKroneckerT2,
  kDifference,
  kBiasDifference,
  kMagnitude,
  kSpectralShift,
  kSilenced,
};

/// Low-rank update: ΔW = scale · up · down.
struct LowRank {
  torch::Tensor down;  ///< [r,I] or [r,C,k,k], any float dtype.
  torch::Tensor up;    ///< [O,r] or [O,r,1,1], any float dtype.
  /// Part of the file, 1 for our own: kohya's alpha / rank. The user's merge_scale (the authors'
  /// alpha) multiplies it.
  double scale = 1.0;

  std::int64_t rank() const { return down.size(0); }
  double alpha() const { return scale * static_cast<double>(rank()); }  ///< kohya's.
};

/// How the matrix [O,I] of a dense update comes from its factors. Source: LyCORIS, lycoris/modules.
enum class DenseForm {
  /// up · down, or with mid [r,r,k,k] between them: Σ_ij up[o,i] mid[i,j,·] down[j,c].
  kProduct,
  /// LoHa: (1a·1b) ∘ (2a·2b), or with t [r,r,k,k] each Σ_ij t[i,j,·] a[i,o] b[j,c].
  kHadamard,
  /// LoKr: 1 ⊗ 2, either whole or a·b, the second one also with t2 as above.
  kKronecker,
  /// The difference itself, or nothing but one of the bias.
  kDifference,
  /// SVDiff (arXiv 2303.11305): of a weight U diag(σ) Vᵀ, σ falling, each singular value is moved,
  /// W' = U diag(ReLU(σ + shift)) Vᵀ; kSpectralShift is [min(O,I)].
  kSpectral,
  /// Cones (arXiv 2303.05125): these entries of the weight become 0. kSilenced holds their places
  /// in the flat weight, rising, of an integer dtype.
  kSilenced,
};

/// An update that no pair of factors holds: its form, its tensors as the file has them, and what is
/// only said of the whole weight.
struct Dense {
  DenseForm form = DenseForm::kDifference;
  /// Without kAlpha. kMagnitude (DoRA) is [O,1,…] or [1,C,1,…]: the norm of each output's or input
  /// channel's weights, W' = magnitude · (W + V) / ‖W + V‖ with V as the form has it.
  std::map<LoraPart, torch::Tensor> parts;
  double scale = 1.0;  ///< On V: alpha / rank.

  bool has(LoraPart part) const { return parts.contains(part); }
  /// r of the factors; 0 where there are none.
  std::int64_t rank() const;
  /// The parts that its form needs beside those it has.
  std::vector<LoraPart> missing() const;
  /// Whether its matrix can be computed: nothing is missing, all are numbers of shapes that go
  /// together. Nothing is multiplied.
  bool is_sound() const;
};

struct MatrixShape {
  std::int64_t out = 0;
  std::int64_t in = 0;  ///< I, of a convolution C·k·k.
};

/// What an update is in less room, and what that costs: ‖rest‖² of ‖ΔW‖².
struct Approximation {
  LowRank update;  ///< float32, of the shapes that LowRank has.
  double rest = 0.0;
  double whole = 0.0;
};

/// A value: tensors are handles.
class LayerUpdate {
 public:
  LayerUpdate() = default;
  LayerUpdate(LowRank update) : form_(std::move(update)) {}  // NOLINT: a LoRA is an update
  LayerUpdate(Dense update) : form_(std::move(update)) {}    // NOLINT

  bool is_low_rank() const { return std::holds_alternative<LowRank>(form_); }
  /// Throw mos::Error(kMismatch) for one of the other form.
  LowRank& low_rank();
  const LowRank& low_rank() const;
  /// Null for a low-rank one.
  const Dense* dense() const { return std::get_if<Dense>(&form_); }

  /// r and alpha of its factors; 0 where there are none.
  std::int64_t rank() const;
  double alpha() const;
  /// The pair of factors that it is, also with a Tucker core; nothing for all others.
  std::optional<LowRank> as_pair() const;
  /// O and I; nothing for an update of the bias alone, or of a form that does not tell them
  /// (kSpectral, kSilenced).
  std::optional<MatrixShape> features() const;
  /// Whether it is one of more than the bias.
  bool changes_weight() const;
  /// Whether it is of kSilenced.
  bool silences() const;
  /// Whether ΔW is another one for another weight of the same shape: DoRA, kSpectral, kSilenced.
  bool depends_on_weight() const;

  /// Whether it is one of a layer with a weight of this shape ([O,I] or [O,C,k,k]). Nothing is
  /// multiplied. Files may keep the factors of a 1×1 convolution flat, or those of a linear layer
  /// as 1×1.
  bool fits(torch::IntArrayRef weight_shape) const;
  /// Its factors and their shapes, for messages.
  std::string shapes() const;

  /// ΔW, float32, in the shape and on the device of `weight`. `merge_scale` is a factor on it, but
  /// for kSpectral, where it is one on the shifts within the ReLU, as SVDiff has it.
  /// Required: fits(weight.sizes()).
  torch::Tensor difference(const torch::Tensor& weight, double merge_scale = 1.0) const;
  /// weight + difference(weight, merge_scale), float32.
  torch::Tensor apply_to(const torch::Tensor& weight, double merge_scale = 1.0) const;
  /// Of the bias, float32 [O]; undefined when that stays as it is.
  torch::Tensor bias_difference() const;

  /// The same ΔW as two factors: those of a low-rank one as they are, of a Tucker decomposition its
  /// product, of all others the singular vectors that count in float64, at least one (a LoHa has r²
  /// of them, a full difference min(O,I)).
  LowRank factored(const torch::Tensor& weight) const;
  /// The nearest ΔW of at most this rank (float64 SVD); a low-rank one that has no more is itself.
  Approximation as_low_rank(std::int64_t rank, const torch::Tensor& weight) const;

  /// Every tensor of numbers in it, for a cast; not the places of kSilenced.
  void for_each_tensor(const std::function<void(torch::Tensor&)>& visit);

 private:
  std::variant<LowRank, Dense> form_;
};

/// Updates by the dotted name of their layer, e.g.
/// `down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q`.
using LayerUpdates = std::map<std::string, LayerUpdate>;

/// "lora_down", "hada_w1_a", "dora_scale", …: as the files of kohya and LyCORIS call it.
std::string_view name_of(LoraPart part);
/// "LoHa (LyCORIS)", …
std::string_view name_of(DenseForm form);

/// `pair` with a change of the bias [O]; the pair alone where that is undefined.
LayerUpdate with_bias(LowRank pair, const torch::Tensor& bias);

/// ΔW of a pair, float32, [O,I] or [O,C,k,k] as `down` is.
torch::Tensor lora_update(const LowRank& pair);

}  // namespace mos::concepts
