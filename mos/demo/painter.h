#pragma once

#include <torch/types.h>

#include <filesystem>
#include <string>

#include "mos/base/progress.h"
#include "mos/concepts/concept_delta.h"
#include "mos/region/sample.h"
#include "mos/session/session.h"

namespace mos::demo {

/// A session on `base` with the words and, at scale 1, the LoRA of `delta` (null: neither).
session::Session open_painter(const std::filesystem::path& base, torch::ScalarType dtype,
                              const concepts::ConceptDelta* delta);

/// Pictures of `prompt`, uint8 [count,H,W,3].
torch::Tensor paint(session::Session& painter, const std::string& prompt,
                    const region::SampleOptions& options, const CancelToken* cancel = nullptr);

}  // namespace mos::demo
