#pragma once

#include <string>
#include <vector>

#include "mos/pretrain/acceptance.h"

namespace mos::pretrain {

/// What is asked of the sample concepts in the folder options.concepts, tuned on options.model or
/// `base`/export and painted: all together, none of them for itself. Keeps what was tuned and
/// painted in `base`/concepts. Throws kIo where there is nothing to tune on, and as
/// demo::try_concepts does.
std::vector<AcceptanceRow> accept_concepts(const std::filesystem::path& base,
                                           const AcceptanceOptions& options,
                                           const ProgressCallback& progress,
                                           const CancelToken* cancel);

/// Throws kIo where accept_concepts() would miss what concepts are tuned on: said before an hour of
/// measuring.
void check_tunable(const std::filesystem::path& base, const AcceptanceOptions& options);

}  // namespace mos::pretrain
