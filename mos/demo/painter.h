#pragma once

#include <torch/types.h>

#include <filesystem>
#include <string>

#include "mos/base/progress.h"
#include "mos/concepts/concept_delta.h"
#include "mos/concepts/tokens.h"
#include "mos/diffusion/model.h"
#include "mos/region/sample.h"

namespace mos::demo {

/// A base model with concepts merged in, ready to paint.
struct Painter {
  diffusion::Model model;
  concepts::ConceptTokens tokens;
};

/// The model of `base` with the words and, at scale 1, the LoRA of `delta` (null: neither).
Painter load_painter(const std::filesystem::path& base, torch::ScalarType dtype,
                     const concepts::ConceptDelta* delta);

/// Pictures of `prompt`, uint8 [count,H,W,3].
torch::Tensor paint(Painter& painter, const std::string& prompt,
                    const region::SampleOptions& options, const CancelToken* cancel = nullptr);

}  // namespace mos::demo
