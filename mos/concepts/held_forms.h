#pragma once

#include <cstdint>
#include <string>

#include "mos/concepts/concept_delta.h"
#include "mos/diffusion/model.h"

/// Updates for files that have no room for their form.
namespace mos::concepts {

/// What a kind of file can hold of a layer's update.
enum class HeldForms {
  kNone,            ///< Words alone.
  kPairs,           ///< Low-rank ones.
  kPairsAndDora,    ///< Those with DoRA's magnitude of outputs too.
  kPairsAndBiases,  ///< Those with a change of the bias, or a Tucker core, too.
  kLycoris,         ///< Every form that LyCORIS has.
  kAll,             ///< Every form that is read.
};

/// Whether a file of that kind has a place for changes of biases.
bool holds_biases(HeldForms held);

/// Whether a file of that kind can hold it as it is.
bool holds(HeldForms held, const LayerUpdate& update);

/// A concept with updates of forms that a file can hold.
struct Reduction {
  ConceptDelta delta;
  std::int64_t layers = 0;      ///< So many of them are approximated by lower rank.
  double relative_error = 0.0;  ///< ‖what is lost‖ / ‖ΔW‖ over those layers together.
  double worst = 0.0;           ///< The same of the worst layer.
  std::string worst_layer;
};

/// "3 layers became pairs of rank 64 at most: 1.2 % is lost, in mid_block… 2.3 %", for people.
std::string cost_text(const Reduction& reduction, std::int64_t rank);

/// Whether reduced_to needs the base model for this: something in it depends on the weights that it
/// changes (DoRA, spectral shifts, silenced neurons) and is not held.
bool needs_base(HeldForms held, const ConceptDelta& delta);

/// `delta` in such forms. Updates that are held stay as they are; a Tucker decomposition becomes
/// the pair that it is; all others become the nearest ones of at most `rank`. `base` may be null
/// where needs_base says no. Throws mos::Error(kMismatch) for what cannot be held even so: a change
/// of biases, what depends on weights without `base`, a concept that does not fit `base`.
Reduction reduced_to(HeldForms held, ConceptDelta delta, std::int64_t rank,
                     diffusion::Model* base = nullptr);

}  // namespace mos::concepts
