#pragma once

#include <cstdint>
#include <string>

#include "mos/base/progress.h"
#include "mos/concepts/concept_delta.h"
#include "mos/tune/dataset.h"

namespace mos::demo {

/// Tuning with what the base model recommends.
struct TuningOrder {
  std::string base;
  std::string name;        ///< Of the concept, for progress and its file.
  std::string out;         ///< Folder that gets NAME.safetensors.
  std::int64_t steps = 0;  ///< 0: what the base recommends.
  std::uint64_t seed = 0;
};

struct Tuning {
  concepts::ConceptDelta delta;
  std::string class_word;  ///< What the concept is one of, as it was settled from the pictures.
  double seconds = 0.0;    ///< Wall time of the steps, without loading.
};

/// Throws as tune::tune_concept does.
Tuning tune(const TuningOrder& order, const tune::ConceptDataset& dataset,
            const ProgressCallback& progress, const CancelToken* cancel);

}  // namespace mos::demo
