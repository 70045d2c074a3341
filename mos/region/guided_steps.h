#pragma once

#include <string>
#include <vector>

#include "mos/region/sample.h"

namespace mos::region {

/// A sentence about limits of guidance (guidance_start, guidance_end) that leave it on in no step,
/// or in all of them as if they were not there; empty where they do something. Throws as
/// make_scheduler and set_timesteps do.
std::string idle_guidance(const diffusion::Model& model, const SampleOptions& options);

/// A sentence for each region and each condition of `scene` whose start and end leave it on in no
/// call of the network, those of a second pass included. Throws as make_scheduler and set_timesteps
/// do.
std::vector<std::string> idle_spans(const diffusion::Model& model, const Scene& scene,
                                    const SampleOptions& options);

}  // namespace mos::region
