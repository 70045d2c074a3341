#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "mos/fuse/gram.h"
#include "mos/fuse/method.h"
#include "mos/fuse/update.h"

namespace mos::fuse {

/// How well a merged layer serves one concept, as mean squares over its rows and the outputs.
struct ConceptFit {
  double before = 0.0;  ///< Error of W0: ΔW_i X_i.
  double after = 0.0;   ///< Error of the merged weight: (W − W_i) X_i.
  /// What the other concepts' parts of the update put out on X_i; nothing where the update has no
  /// parts of its own for each concept.
  std::optional<double> crosstalk = {};
  /// What each of the other concepts' parts alone puts out there, in their order, 0 for its own;
  /// empty where there is no crosstalk. They need not add up to it: parts can cancel.
  std::vector<double> crosstalk_from = {};
};

/// `own` is the update of concept number `index`, `inputs` are what it reads.
ConceptFit concept_fit(const Merged& merged, const Update& own, std::size_t index,
                       const InputGram& inputs);

}  // namespace mos::fuse
