#pragma once

#include <vector>

#include "mos/jobs/sample.h"
#include "mos/region/region.h"
#include "mos/session/picture_record.h"

/// What a SampleJob asks to be painted, on a canvas that is known once there is a model. Of
/// sample.h alone.
namespace mos::jobs {

/// The files of the job's concepts with their scales. Throws kUsage for a scale that is no number.
std::vector<session::ConceptUse> uses_of(const SampleJob& job);

/// `job` with its scene file read and its concepts in `uses`, to which the files are added that
/// prompts name as <lora:name:scale>; the prompts lose the tags. Throws kUsage, kIo, kFormat.
SampleJob resolved(SampleJob job);

/// Whether a prompt of `job`, or of the picture it is from, names a file as <lora:name>. Throws as
/// resolved() does.
bool names_loras(SampleJob job);

/// One condition for each adapter, without boxes: those need a canvas. Throws kUsage when a list
/// does not have an entry for each adapter.
std::vector<region::Condition> conditions_of(const ConditionLists& lists);

/// Whether the scene of `job` must hold to what new ones must: pictures of earlier versions may
/// have what is refused today, as long as nobody asks for one of their regions.
bool has_new_scene(const SampleJob& job);

/// The scene of `job` on a canvas that its options, its file or the model decide, in this sequence.
/// Sets the height and width of `options` to that canvas.
region::Scene compose_scene(const SampleJob& job, const diffusion::Model& model,
                            region::SampleOptions& options);

}  // namespace mos::jobs
