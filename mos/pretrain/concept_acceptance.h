#pragma once

#include <string>
#include <vector>

#include "mos/pretrain/acceptance.h"

namespace mos::pretrain {

/// What is asked of the sample concepts in the folder `concepts`, tuned on `base`/export and
/// painted: all together, none of them for itself. Keeps what was tuned and painted in
/// `base`/concepts. Throws kIo where there is no export, and as demo::try_concepts does.
std::vector<AcceptanceRow> accept_concepts(const std::filesystem::path& base,
                                           const std::string& concepts,
                                           const ProgressCallback& progress,
                                           const CancelToken* cancel);

/// Throws kIo where accept_concepts() would miss `base`/export: said before an hour of measuring.
void check_export(const std::filesystem::path& base);

}  // namespace mos::pretrain
