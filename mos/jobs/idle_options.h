#pragma once

#include <string>

#include "mos/jobs/sample.h"
#include "mos/region/region.h"
#include "mos/session/session.h"

/// Options that would do nothing: what was plainly asked for is refused, what forms, defaults and
/// saved options give whatever else is given is said.
namespace mos::jobs {

/// What `options` paint by: the model's own class where they name no scheduler.
std::string scheduler_of(const region::SampleOptions& options, const diffusion::Model& model);

/// Throws kUsage for what `scene`, which `job` is laid out to, asks for and cannot have: subjects
/// that are not in its prompts, a background of nothing, concepts in regions where there are none
/// of these or those. Of a recorded scene that is said alone, so that it can be painted as it was;
/// what goes with no region at all is refused of every scene.
void check_wishes(const SampleJob& job, const session::Session& opened, const region::Scene& scene);

/// Says which options of `job` change nothing. `model` and `scene` are those that it is laid out
/// with.
void warn_of_idle(const SampleJob& job, const diffusion::Model& model, const region::Scene& scene);

/// The same of options for concept files, where there are none.
void warn_of_idle_keys(const session::KeyOptions& keys);

}  // namespace mos::jobs
