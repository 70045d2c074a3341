#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "mos/base/json.h"
#include "mos/base/runtime.h"
#include "mos/fuse/distance.h"
#include "mos/fuse/fit.h"

namespace mos::fuse {

/// What became of one layer. Fits are in the order of the concepts; empty where nothing was
/// recorded.
struct LayerReport {
  std::string stage;  ///< See FusionStage::name().
  std::string layer;
  std::string method;  ///< That merged it: the one asked for, or weight where that lacked inputs.
  std::int64_t rank = 0;
  std::int64_t rows = 0;                ///< Inputs seen, of all concepts.
  std::map<std::string, double> facts;  ///< What the method tells, such as relative_ridge.
  std::vector<ConceptFit> fits;
  std::vector<std::int64_t> concept_rows;  ///< Inputs seen, by concept.
};

struct StageReport {
  std::string stage;
  double seconds = 0.0;
  std::int64_t peak_memory = 0;  ///< Bytes of resident memory, the highest during this stage.
};

struct FusionReport {
  std::string method;
  std::vector<std::string> concepts;
  std::vector<LayerReport> layers;
  std::vector<StageReport> stages;
  std::vector<Distance> distances;  ///< Of distillation; empty: there was none.

  /// Sums over layers of the mean squared error (over the rows of all concepts, as the authors
  /// minimise it) at W0 and after fusion, for a stage or, if empty, for all.
  ConceptFit total(const std::string& stage = {}) const;
  /// The same for one concept.
  ConceptFit total_of_concept(std::size_t index) const;

  /// The mean over concepts, as they count; nothing where nothing was distilled.
  std::optional<Distance> distance() const;

  /// Of the concepts that distillation took further from their own models: for the mean of all to
  /// fall, some may have to pay.
  std::vector<Distance> further() const;

  /// The results: the same for the same inputs. What was measured on the way is not in it.
  Json to_json() const;

  /// "12.3 s (cross_attention 1.2, …), at most 1.9 GB of memory".
  std::string measured() const;
};

/// Wall time and peak memory from construction on.
class StageClock {
 public:
  explicit StageClock(std::string stage);
  StageReport stop() const;

 private:
  std::string stage_;
  double started_;
  PeakMemory peak_;
};

}  // namespace mos::fuse
