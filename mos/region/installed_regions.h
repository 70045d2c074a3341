#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "mos/nn/attention.h"
#include "mos/region/masked_attention.h"
#include "mos/region/own_layers.h"
#include "mos/region/sample.h"

namespace mos::region {

/// What a picture is painted with.
struct ScenePainting {
  diffusion::Model& model;
  const concepts::ConceptTokens& tokens;
  const Scene& scene;
  const SampleOptions& options;
  const PaintInputs& paint;             ///< With its texts.
  diffusion::SteerCallback steer = {};  ///< Instead of the options' guide.
  std::int64_t most_calls = 0;          ///< Calls after which it ends; 0: at its end.
};

/// Processors of a scene's regions in the layers of a model, for as long as this object lives.
class InstalledRegions {
 public:
  explicit InstalledRegions(const ScenePainting& painting);

  /// `residuals`, and the time kept for regions that come and go.
  diffusion::ResidualCallback with_time(diffusion::ResidualCallback residuals) const;

  /// Null for scenes that need no masks.
  const std::shared_ptr<MaskedRegions>& masked() const { return masked_; }

 private:
  void install_masked(const ScenePainting& painting, nn::FeatureSize latents);

  std::shared_ptr<MaskedRegions> masked_;
  std::optional<nn::ScopedProcessor> cross_, self_;
  std::optional<InstalledLayers> layers_;
};

}  // namespace mos::region
