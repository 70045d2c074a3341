#pragma once

#include "mos/concepts/concept_delta.h"
#include "mos/diffusion/model.h"

namespace mos::concepts {

/// `delta` with the mean of the layers' rows in place of layer-wise ones: for files that have room
/// for one row.
ConceptDelta with_mean_rows(const ConceptDelta& delta);

/// What the mean rows change, relative to what it was: ‖after − before‖ / ‖before‖.
struct MeanRowChange {
  double text = 0.0;        ///< Of the text features that the cross-attention layers read.
  double prediction = 0.0;  ///< Of the U-Net's prediction for one noise at half of the schedule.
};

/// Measures it with the concept merged into `base`, on "photo of a <its words>". The weights of
/// `base` are as before afterwards, its text encoder keeps the concept's words.
/// Throws mos::Error(kMismatch) if the concept does not fit.
MeanRowChange measure_mean_rows(diffusion::Model& base, const ConceptDelta& delta);

}  // namespace mos::concepts
