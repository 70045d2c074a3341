#pragma once

#include "mos/base/outputs.h"

/// Kinds of files that commands write, each known by its content.
namespace mos::session {

FileKind picture_kind();  ///< A PNG with a record of this program in it.
FileKind record_kind();   ///< A picture's record, as this program writes it.
FileKind report_kind();   ///< A report or figures of this program.
FileKind concept_kind();  ///< A concept, a LoRA or an embedding.

/// The folder of a model, or one file where `path` is for that. Throws kUsage for the ending of
/// another kind of file: no folder is called so.
void write_model(Outputs& outputs, const std::string& name, const std::filesystem::path& path,
                 Existing existing);

}  // namespace mos::session
