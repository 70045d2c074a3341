#pragma once

#include <filesystem>

#include "flags.h"

namespace mos::app {

/// Help for the options of convert_concept.
extern const char* const kConvertConceptHelp;

/// `mos convert` for files of concepts, LoRA and embeddings: `in` in another dialect at `out`.
/// Throws kIo, kFormat, kMismatch for files that are none or do not fit each other, kUsage for
/// what the target cannot hold.
int convert_concept(Flags& flags, const std::filesystem::path& in,
                    const std::filesystem::path& out);

}  // namespace mos::app
