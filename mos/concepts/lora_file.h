#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "mos/base/json.h"
#include "mos/concepts/concept_delta.h"
#include "mos/concepts/key_report.h"
#include "mos/concepts/lora_names.h"
#include "mos/io/state_dict.h"

/// LoRA pairs from the tensors of a file, and the way back.
namespace mos::concepts {

/// The name of a layer across both networks: `unet/<layer>` or `text_encoder/<layer>`.
std::string layer_target(Network network, std::string_view layer);

/// PEFT's LoraConfig as far as it changes what the factors mean: rank, lora_alpha, alpha_pattern,
/// use_rslora. By network; an absent network scales by 1.
using PeftConfigs = std::map<Network, Json>;

/// Takes the tensors of LoRA out of a file, in any order, and pairs them.
class LoraCollector {
 public:
  /// False when `key` is no LoRA key of any dialect.
  bool take(const std::string& key, const torch::Tensor& tensor);

  /// All pairs whose halves are there and fit; whatever else was taken is in `report`: a factor
  /// without its other half, an alpha that is no number, shapes that do not multiply.
  /// A Tucker decomposition becomes a pair: its middle kernel is multiplied into `down`, exactly.
  void finish(const PeftConfigs& configs, ConceptDelta& delta, KeyReport& report) const;

  /// Keys by dialect.
  const std::map<LoraDialect, std::size_t>& dialects() const { return dialects_; }

 private:
  struct Parts {
    std::map<LoraPart, std::pair<std::string, torch::Tensor>> by_part;  ///< Key and tensor.
  };
  std::map<std::pair<Network, std::string>, Parts> layers_;
  std::map<LoraDialect, std::size_t> dialects_;
};

/// The same with every scale multiplied into `up`, float32 there: for readers that know no scale.
ConceptDelta with_folded_scales(ConceptDelta delta);

/// The LoRA of `delta` in the names of `dialect`, tensors as they are. kohya has an alpha beside
/// every pair, in the dtype of `down` where that holds it exactly, else float32; kOfficial has one
/// where the scale is not 1. kDiffusers and kPeft have it in the metadata, see peft_metadata().
io::StateDict lora_tensors(const ConceptDelta& delta, LoraDialect dialect);

/// Where diffusers (from 0.34 on) keeps PEFT's configuration in a file's metadata (lora_base.py).
inline constexpr const char* kAdapterMetadata = "lora_adapter_metadata";

/// Scales of a file in the names of kDiffusers or kPeft: the value of kAdapterMetadata. Empty when
/// every scale is 1, which is what a reader assumes without it.
std::string peft_metadata(const ConceptDelta& delta);

/// The metadata entry of that name, parsed. Throws mos::Error(kFormat) for what is no such JSON.
PeftConfigs peft_configs(const std::map<std::string, std::string>& metadata,
                         const std::string& origin);

}  // namespace mos::concepts
