#pragma once

#include <filesystem>

#include "mos/region/sample.h"

namespace mos::session {

/// How the model in `base` wants to be painted: what its sample_defaults.json says, which fused
/// models keep, over the program's defaults; those alone for other models.
/// Throws mos::Error(kUsage, kFormat, kIo) naming the file for one that says something impossible.
region::SampleOptions sample_defaults(const std::filesystem::path& base);

/// The share of perturbed attention that is as strong at `guidance_scale` as that of `options` is
/// at theirs: what counts is share · (scale − 1). 0 where there is no guidance, 1 at most.
double perturbed_attention_at(double guidance_scale, const region::SampleOptions& options);

}  // namespace mos::session
