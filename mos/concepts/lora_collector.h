#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "mos/concepts/concept_delta.h"
#include "mos/concepts/key_report.h"
#include "mos/concepts/lora_names.h"
#include "mos/concepts/peft_config.h"

/// Updates of layers from the tensors of a file.
namespace mos::concepts {

/// The name of a layer across all networks: `unet/<layer>`, …
std::string layer_target(checkpoint::Part network, std::string_view layer);

/// Takes the tensors of updates out of a file, in any order, and puts them together by layer.
class LoraCollector {
 public:
  /// False when `key` is no key of an update in any dialect.
  bool take(const std::string& key, const torch::Tensor& tensor);
  /// The same for a key that somebody else has understood.
  void take(const LoraKey& meaning, const std::string& key, const torch::Tensor& tensor);

  /// All updates whose parts are there and fit; whatever else was taken is in `report`: a factor
  /// without its other half, an alpha that is no number, an alpha alone, parts of two forms, shapes
  /// that do not multiply, a part that the layer has twice, several adapters of PEFT.
  /// Tensors are aliased, but for DoRA's magnitudes of PEFT, which lose their empty dimensions.
  void finish(const PeftConfigs& configs, ConceptDelta& delta, KeyReport& report) const;

  /// Keys by dialect.
  const std::map<LoraDialect, std::size_t>& dialects() const { return dialects_; }

 private:
  using Parts = std::map<LoraPart, std::pair<std::string, torch::Tensor>>;  ///< Key and tensor.

  std::map<std::pair<checkpoint::Part, std::string>, Parts> layers_;
  std::map<LoraDialect, std::size_t> dialects_;
  std::set<std::string> adapters_;
  std::vector<std::string> twice_;
};

}  // namespace mos::concepts
