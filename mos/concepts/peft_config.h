#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "mos/base/json.h"
#include "mos/concepts/concept_delta.h"
#include "mos/concepts/layer_update.h"
#include "mos/concepts/lora_names.h"

/// PEFT's configuration of an adapter, as far as it changes what the factors mean.
namespace mos::concepts {

/// Where diffusers (from 0.34 on) keeps PEFT's configuration in a file's metadata (lora_base.py).
inline constexpr const char* kAdapterMetadata = "lora_adapter_metadata";

/// One network's LoraConfig (or LoHaConfig, LoKrConfig): rank and alpha of each layer as PEFT
/// resolves them (get_pattern_key): the first pattern, in the order of the file, that is a regular
/// expression for the layer's whole name or for what follows one of its dots.
class PeftConfig {
 public:
  /// Throws mos::Error naming `origin`: kFormat for values of wrong types, ranks that are none and
  /// patterns that are no regular expressions, kMismatch for adapters of other types and those that
  /// also change the base model's weights (PiSSA and its kin).
  PeftConfig(const Json& config, const std::string& origin);
  ~PeftConfig();
  PeftConfig(PeftConfig&&) noexcept;

  /// r of this layer; 0 when the configuration does not say.
  std::int64_t rank(const std::string& layer) const;
  /// alpha / r, or alpha / √r with rank-stabilised LoRA.
  double scale(const std::string& layer, std::int64_t rank) const;
  /// What every update is; nothing when the configuration does not say.
  std::optional<DenseForm> form() const { return form_; }
  /// Whether layers have magnitudes beside their factors.
  bool uses_dora() const { return uses_dora_; }

 private:
  class Pattern;
  static double resolve(const std::vector<Pattern>& patterns, const std::string& layer,
                        double fallback);
  void read(const Json& config);
  static std::vector<Pattern> patterns_in(const Json& config, const char* key);

  double rank_ = 0.0, alpha_ = 0.0;
  bool rank_stabilised_ = false, uses_dora_ = false;
  std::optional<DenseForm> form_;
  std::vector<Pattern> ranks_, alphas_;
};

/// By network; an absent network scales by 1.
using PeftConfigs = std::map<checkpoint::Part, PeftConfig>;

/// The metadata entry of that name, parsed. Throws as PeftConfig does.
PeftConfigs peft_configs(const std::map<std::string, std::string>& metadata,
                         const std::string& origin);

/// Scales of a file in the names of kDiffusers or kPeft: the value of kAdapterMetadata. Empty when
/// every scale is 1 and there is no DoRA, which is what a reader assumes without it.
std::string peft_metadata(const ConceptDelta& delta);

}  // namespace mos::concepts
